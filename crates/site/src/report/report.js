// Pressing a verb in the legend leaves only its bars in full colour; pressing it again, all.
const gantt = document.getElementById("gantt");
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const on = button.classList.toggle("on");
    for (const other of document.querySelectorAll(".legend button")) {
      if (other !== button) other.classList.remove("on");
    }
    const verb = button.dataset.verb;
    for (const bar of gantt.querySelectorAll(".bar")) {
      const fits = verb === "critical" ? bar.classList.contains("critical") : bar.dataset.verb === verb;
      bar.classList.toggle("on", on && fits);
    }
    gantt.classList.toggle("filtered", on);
  });
}
