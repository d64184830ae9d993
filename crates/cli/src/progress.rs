//! What a person sees while a job runs.
//!
//! [`frame`] is a pure function from the job to the lines on the screen; [`Screen`] puts them on a
//! terminal, or prints one line for each step that ends where there is none.

use std::{
    collections::{BTreeMap, HashSet},
    io::{IsTerminal as _, Write as _},
};

use console::{Term, style};
use jiff::Timestamp;
use wright_site::Label;
use wright_workflow::{JobOutline, JobState, StepOutline, StepState};

const BAR: usize = 24;
const RUNNING_SHOWN: usize = 10;
const WAITING_SHOWN: usize = 4;
/// Lines round the layers: the headline, and what runs and who waits with the count of the others.
const ROUND_LAYERS: usize = 1 + RUNNING_SHOWN + 1 + WAITING_SHOWN + 1;
const LAYERS_SHOWN: usize = 4;

/// The lines of one frame, at most `width` wide and, from [`LAYERS_SHOWN`] and what is round them on,
/// no more than `height`.
pub fn frame(job: &JobOutline, now: Timestamp, width: usize, height: usize) -> Vec<String> {
    let live: Vec<&StepOutline> = job.steps().iter().filter(|step| !step.dropped).collect();
    let mut lines = vec![headline(job, &live, now)];
    let room = height.saturating_sub(ROUND_LAYERS).max(LAYERS_SHOWN);
    lines.extend(layers(&live, room));
    lines.extend(running(&live, now));
    lines.extend(waiting(job, &live));
    lines
        .iter()
        .map(|line| console::truncate_str(line, width, "…").into_owned())
        .collect()
}

fn done(record: &StepOutline) -> bool {
    !matches!(
        record.state,
        StepState::Waiting | StepState::Running | StepState::Backoff
    )
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to - from)
        .total(jiff::Unit::Second)
        .unwrap_or(0.0)
        .max(0.0)
}

fn bar(done: usize, all: usize) -> String {
    let filled = (done * BAR).checked_div(all).unwrap_or(BAR);
    format!(
        "{}{}",
        style("━".repeat(filled)).green(),
        style("╌".repeat(BAR - filled)).dim()
    )
}

fn headline(job: &JobOutline, live: &[&StepOutline], now: Timestamp) -> String {
    let ended = live.iter().filter(|record| done(record)).count();
    let left = time_left_ms(job, live, now);
    let summary = job.summary();
    let state = match summary.state {
        JobState::Running if summary.paused.is_some() => style("paused").yellow().to_string(),
        JobState::Running => format!("about {:.0} s left", (left as f64 / 1000.0).ceil()),
        JobState::Undoing => style("taking back what was half made").yellow().to_string(),
        state => format!("{state:?}").to_lowercase(),
    };
    format!(
        "{} {} {ended}/{} steps  {:.1} s  {state}",
        style(&summary.title).bold(),
        bar(ended, live.len()),
        live.len(),
        seconds(summary.created_at, now),
    )
}

/// A line for each layer. Where there are more than there is room for, those that are done are one
/// line, and so are the last that have not begun.
fn layers(live: &[&StepOutline], room: usize) -> Vec<String> {
    let mut layers: BTreeMap<u32, (usize, usize, Vec<&str>)> = BTreeMap::new();
    for record in live {
        let layer = layers.entry(record.layer).or_default();
        layer.0 += usize::from(done(record));
        layer.1 += 1;
        let app = app_of(record);
        // The steps of an app are next to each other: few are sorted out below.
        if !app.is_empty() && layer.2.last() != Some(&app) {
            layer.2.push(app);
        }
    }
    let mut lines = Vec::new();
    if layers.len() > room {
        let all = layers.len();
        layers.retain(|_, (ended, steps, _)| ended != steps);
        if layers.len() < all {
            lines.push(format!("  {} layers are done", all - layers.len()));
        }
    }
    let more = (layers.len() + lines.len()).saturating_sub(room);
    let shown = if more > 0 {
        room.saturating_sub(lines.len() + 1)
    } else {
        layers.len()
    };
    let rest = layers.len() - shown;
    let line = |(number, (ended, all, mut apps)): (u32, (usize, usize, Vec<&str>))| {
        apps.sort_unstable();
        apps.dedup();
        format!(
            "  layer {number}  {} {ended:>4}/{all:<4} {}",
            bar(ended, all),
            style(apps.join(" ")).dim()
        )
    };
    lines.extend(layers.into_iter().take(shown).map(line));
    if rest > 0 {
        lines.push(format!("  and {rest} more layers"));
    }
    lines
}

/// The app an instance's step belongs to: the instance's name without its ordinal.
fn app_of(record: &StepOutline) -> &str {
    if record.verb == "fetch" {
        return "";
    }
    let name = Label::of(&record.name).what;
    name.rsplit_once('-').map_or(name, |(app, _)| app)
}

/// What the step is about, for people: `ready catalog-1 on h3`.
fn describe(record: &StepOutline) -> String {
    Label::of(&record.name).to_string()
}

fn running(live: &[&StepOutline], now: Timestamp) -> Vec<String> {
    let mut active: Vec<&&StepOutline> = live
        .iter()
        .filter(|record| {
            matches!(
                record.state,
                StepState::Running | StepState::Backoff | StepState::Undoing
            )
        })
        .collect();
    active.sort_by_key(|record| (record.started_at, &record.name));
    let mut lines: Vec<String> = active
        .iter()
        .take(RUNNING_SHOWN)
        .map(|record| {
            let age = record
                .started_at
                .map_or(0.0, |started| seconds(started, now));
            let mark = match record.state {
                StepState::Backoff => style("↻").yellow(),
                StepState::Undoing => style("↶").yellow(),
                _ => style("▸").cyan(),
            };
            let error = record
                .error
                .as_ref()
                .filter(|_| record.state == StepState::Backoff);
            let error = error
                .map(|error| format!("  {}", style(&error.message).red()))
                .or_else(|| waits_for(record))
                .unwrap_or_default();
            format!(
                "  {mark} {} {}{error}",
                describe(record),
                style(format!("{age:.1} s")).dim()
            )
        })
        .collect();
    if active.len() > RUNNING_SHOWN {
        lines.push(format!("    and {} more", active.len() - RUNNING_SHOWN));
    }
    lines
}

/// Whose answer a step waits for.
fn waits_for(record: &StepOutline) -> Option<String> {
    let asks = record.asks.as_deref();
    let (from, what) = asks.filter(|_| record.state == StepState::Running)?;
    Some(format!("  waits for {}: {what}", style(from).yellow()))
}

/// Who waits for whom: starts that only wait for others' readiness.
fn waiting(job: &JobOutline, live: &[&StepOutline]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut more = 0;
    for record in live
        .iter()
        .filter(|record| record.state == StepState::Waiting && record.verb == "start")
    {
        let who = Label::of(&record.name).what;
        let mut missing = job
            .needs_of(record)
            .filter(|need| !need.is_satisfied())
            .map(|need| Label::of(&need.name).what)
            .filter(|need| *need != who)
            .peekable();
        if missing.peek().is_none() {
            continue;
        }
        if lines.len() == WAITING_SHOWN {
            more += 1;
            continue;
        }
        lines.push(format!(
            "  {} {who} waits for {}",
            style("◦").dim(),
            several(&missing.collect::<Vec<_>>())
        ));
    }
    if more > 0 {
        lines.push(format!("    and {more} more wait"));
    }
    lines
}

/// Names as people read them: the first few, and how many more.
fn several(names: &[&str]) -> String {
    const SAID: usize = 3;
    match names.get(SAID..) {
        Some(more @ [_, _, ..]) => {
            format!("{} and {} more", names[..SAID].join(", "), more.len())
        }
        _ => names.join(", "),
    }
}

/// The longest way to the end that is left, by expected durations, milliseconds.
fn time_left_ms(job: &JobOutline, live: &[&StepOutline], now: Timestamp) -> u64 {
    let mut known = vec![None; job.steps().len()];
    let ends = live
        .iter()
        .map(|step| finish(job, step, &mut known, now))
        .max();
    ends.unwrap_or(0)
}

/// When a step will have ended, milliseconds from now. Of a step that is being looked at, 0 is known:
/// needs that go in a circle end somewhere.
fn finish(job: &JobOutline, step: &StepOutline, known: &mut [Option<u64>], now: Timestamp) -> u64 {
    if done(step) {
        return 0;
    }
    let place = step.place as usize;
    match known.get_mut(place) {
        None => return 0,
        Some(Some(known)) => return *known,
        Some(unknown) => *unknown = Some(0),
    }
    let needs = job.needs_of(step).map(|need| finish(job, need, known, now));
    let begin = needs.max().unwrap_or(0);
    let spent = step
        .started_at
        .map_or(0, |started| (seconds(started, now) * 1000.0) as u64);
    let end = begin + step.expected_ms.saturating_sub(spent).max(50);
    known[place] = Some(end);
    end
}

/// A place that frames are drawn on.
pub struct Screen {
    term: Term,
    live: bool,
    drawn: usize,
    told: HashSet<String>,
    /// The steps of a large job that have ended, and the parts of it that were told.
    ended: usize,
    part: usize,
}

/// The steps of a job that are told one by one where there is no terminal.
const TOLD_ONE_BY_ONE: usize = 5_000;
/// The parts in which a larger one is told.
const PARTS: usize = 20;

impl Screen {
    /// Standard error; live where it is a terminal.
    pub fn new() -> Self {
        let term = Term::stderr();
        let live = std::io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        Screen {
            term,
            live,
            drawn: 0,
            told: HashSet::new(),
            ended: 0,
            part: 0,
        }
    }

    /// Whether it should be redrawn as time passes.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Shows the job as it is now.
    pub fn draw(&mut self, job: &JobOutline, now: Timestamp) {
        if !self.live {
            let all: Vec<usize> = (0..job.steps().len()).collect();
            return self.tell(job, &all);
        }
        let (height, width) = self.term.size();
        let height = usize::from(height).saturating_sub(1).max(3);
        let mut lines = frame(
            job,
            now,
            usize::from(width).saturating_sub(1).max(20),
            height,
        );
        lines.truncate(height);
        self.erase();
        self.drawn = lines.len();
        let _ = self.term.write_str(&(lines.join("\n") + "\n"));
    }

    /// Takes the last frame away.
    pub fn erase(&mut self) {
        if self.drawn > 0 {
            let _ = self.term.clear_last_lines(self.drawn);
            self.drawn = 0;
        }
    }

    /// A line for each of these steps that has ended, where there is no terminal to draw on; of a
    /// large job for those that did not succeed, and for every twentieth part of it.
    pub fn tell(&mut self, job: &JobOutline, places: &[usize]) {
        let mut ended: Vec<&StepOutline> = places
            .iter()
            .filter_map(|place| job.steps().get(*place))
            .filter(|record| !record.dropped && record.ended_at.is_some())
            .collect();
        let all = job.steps().len();
        if all > TOLD_ONE_BY_ONE {
            let before = if places.len() < all { self.ended } else { 0 };
            self.ended = before + ended.len();
            self.tell_part(job, all);
            ended.retain(|record| record.state != StepState::Succeeded);
        }
        ended.sort_by_key(|record| record.ended_at);
        for record in ended {
            let key = format!("{} {:?}", record.name, record.state);
            if record.state == StepState::Skipped || !self.told.insert(key) {
                continue;
            }
            let at = record
                .ended_at
                .map_or(0.0, |ended| seconds(job.summary().created_at, ended));
            let state = match record.state {
                StepState::Succeeded => String::new(),
                state => format!("  {}", format!("{state:?}").to_lowercase()),
            };
            let error = record
                .error
                .as_ref()
                .filter(|_| record.state != StepState::Succeeded);
            let error = error
                .map(|error| format!(": {}", error.message))
                .unwrap_or_default();
            let _ = writeln!(
                std::io::stderr(),
                "{at:>7.1} s  {}{state}{error}",
                describe(record)
            );
        }
    }

    /// Says how far a large job is, where that is another twentieth part than last time.
    fn tell_part(&mut self, job: &JobOutline, all: usize) {
        let part = self.ended * PARTS / usize::max(all, 1);
        if part > self.part {
            self.part = part;
            let at = seconds(job.summary().created_at, Timestamp::now());
            let _ = writeln!(
                std::io::stderr(),
                "{at:>7.1} s  {} of {all} steps",
                self.ended
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use wright_model::Span;
    use wright_workflow::{
        JobAction, JobEvent, JobId, JobSummary, JobView, Retry, Step, StepRecord, WAIT,
    };

    use super::*;

    fn step(name: &str, needs: &[&str], state: StepState) -> StepRecord {
        let (verb, rest) = name.split_once('/').unwrap();
        let (instance, host) = rest.split_once('@').unwrap();
        let step = Step {
            name: name.to_owned(),
            verb: verb.to_owned(),
            input: json!({ "instance": format!("shop/{instance}") }),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            scope: instance.to_owned(),
            target: Some(host.to_owned()),
            layer: 0,
            deadline: Span::from_secs(1),
            retry: Retry::default(),
            undo: None,
            expected_ms: 1000,
        };
        StepRecord {
            state,
            ..StepRecord::new(step)
        }
    }

    fn job(steps: Vec<StepRecord>) -> JobView {
        JobView {
            summary: JobSummary {
                id: JobId(Default::default()),
                kind: "site-up".into(),
                subject: "site/shop".into(),
                title: "build shop".into(),
                actor: "operator".into(),
                tenant: "site/shop".into(),
                parent: None,
                state: JobState::Running,
                paused: None,
                plan: 1,
                created_at: Timestamp::UNIX_EPOCH,
                ended_at: None,
                cause: String::new(),
                forgotten: false,
            },
            context: serde_json::Value::Null,
            steps,
            history: Vec::new(),
            questions: Vec::new(),
            children: Vec::new(),
        }
    }

    #[test]
    fn a_frame_says_what_runs_and_who_waits_for_whom() {
        console::set_colors_enabled(false);
        let view = job(vec![
            step("ready/db-1@h1", &[], StepState::Running),
            step("start/web-1@h2", &["ready/db-1@h1"], StepState::Waiting),
        ]);
        let text = frame(&JobOutline::of(&view), Timestamp::UNIX_EPOCH, 100, 40).join("\n");
        assert!(text.contains("ready db-1 on h1"), "{text}");
        assert!(text.contains("web-1 waits for db-1"), "{text}");
        assert!(text.contains("0/2 steps"), "{text}");
    }

    #[test]
    fn a_frame_says_that_the_job_is_paused_and_whose_answer_it_waits_for() {
        console::set_colors_enabled(false);
        let mut asks = step("ask/db-1@h1", &[], StepState::Running);
        let step = Arc::make_mut(&mut asks.step);
        step.verb = WAIT.to_owned();
        step.input = json!({ "what": "may it take traffic?", "from": "on-call" });
        let mut view = job(vec![asks]);
        view.summary.paused = Some(JobEvent {
            at: Timestamp::UNIX_EPOCH,
            actor: "anna".into(),
            action: JobAction::Pause,
            step: None,
            reason: "lunch".into(),
        });
        let text = frame(&JobOutline::of(&view), Timestamp::UNIX_EPOCH, 120, 40).join("\n");
        assert!(
            text.contains("waits for on-call: may it take traffic?"),
            "{text}"
        );
        assert!(text.contains("paused"), "{text}");
    }

    #[test]
    fn time_left_is_the_longest_way_to_the_end() {
        let steps = [
            step("ready/a-1@h1", &[], StepState::Succeeded),
            step("ready/b-1@h1", &["ready/a-1@h1"], StepState::Waiting),
            step("ready/c-1@h1", &["ready/b-1@h1"], StepState::Waiting),
            step("ready/d-1@h1", &[], StepState::Waiting),
        ];
        let job = JobOutline::of(&job(steps.into()));
        let live: Vec<&StepOutline> = job.steps().iter().collect();
        assert_eq!(time_left_ms(&job, &live, Timestamp::UNIX_EPOCH), 2000);
    }

    #[test]
    fn a_frame_is_never_wider_than_the_terminal() {
        console::set_colors_enabled(false);
        let view = job(vec![step(
            "ready/a-very-long-instance-name-1@h1",
            &[],
            StepState::Running,
        )]);
        for line in frame(&JobOutline::of(&view), Timestamp::UNIX_EPOCH, 30, 40) {
            assert!(console::measure_text_width(&line) <= 30, "{line}");
        }
    }

    #[test]
    fn a_frame_of_a_large_build_fits_on_the_screen() {
        console::set_colors_enabled(false);
        let mut steps = Vec::new();
        for layer in 0..60 {
            for number in 0..20 {
                let state = match layer {
                    0..20 => StepState::Succeeded,
                    20 => StepState::Running,
                    _ => StepState::Waiting,
                };
                let below = (0..20).map(|n| format!("start/app{}-{n}@h", layer - 1));
                let below: Vec<String> = below.filter(|_| layer > 0).collect();
                let below: Vec<&str> = below.iter().map(String::as_str).collect();
                let mut step = step(&format!("start/app{layer}-{number}@h"), &below, state);
                Arc::make_mut(&mut step.step).layer = u32::try_from(layer).unwrap();
                steps.push(step);
            }
        }
        let lines = frame(&JobOutline::of(&job(steps)), Timestamp::UNIX_EPOCH, 119, 39);
        let text = lines.join("\n");
        assert!(lines.len() <= 39, "{text}");
        for part in [
            "20 layers are done",
            "layer 20 ",
            "more layers",
            "and 10 more",
            "app21-0 waits for app20-0, app20-1, app20-2 and 17 more",
            "and 776 more wait",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
