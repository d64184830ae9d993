//! Product pictures: small drawings as inline SVG, in the colour of the product.

use std::fmt::Write;

/// The drawings, on a field of 200 × 200. Classes: `a` the product's colour, `d` darker, `l` lighter,
/// `w` nearly white, `s` a dark line, `k` black, `g` leaves, `p` and `q` clay.
const MOTIFS: [(&str, &str); 21] = [
    (
        "mug",
        r#"<path class="s" d="M132 84h14a20 20 0 0 1 0 44h-14"/><path class="a" d="M60 64h76v62a22 22 0 0 1-22 22H82a22 22 0 0 1-22-22z"/><path class="l" d="M60 64h76v14H60z"/><circle class="d" cx="80" cy="100" r="3"/><circle class="d" cx="104" cy="118" r="3"/><circle class="d" cx="118" cy="96" r="3"/><circle class="d" cx="90" cy="132" r="3"/>"#,
    ),
    (
        "teapot",
        r#"<path class="s" d="M142 92c24-8 30 38-4 40"/><path class="d" d="M66 108 34 84l-8 10 36 40z"/><ellipse class="a" cx="102" cy="116" rx="46" ry="38"/><path class="l" d="M70 88a46 38 0 0 1 64 0z"/><circle class="d" cx="102" cy="70" r="8"/><path class="d" d="M78 150h48v6H78z"/>"#,
    ),
    (
        "bowl",
        r#"<path class="a" d="M36 88h128c0 40-28 62-64 62s-64-22-64-62z"/><ellipse class="l" cx="100" cy="88" rx="64" ry="14"/><ellipse class="d" cx="100" cy="90" rx="52" ry="9"/><path class="d" d="M80 148h40v8H80z"/>"#,
    ),
    (
        "pan",
        r#"<path class="d" d="M128 118 176 66l10 10-46 54z"/><circle class="d" cx="88" cy="118" r="54"/><circle class="a" cx="88" cy="118" r="44"/><path class="l" d="M60 100a36 36 0 0 1 34-18v8a30 30 0 0 0-28 14z"/>"#,
    ),
    (
        "board",
        r#"<path class="a" d="M62 66h76a10 10 0 0 1 10 10v74a10 10 0 0 1-10 10H62a10 10 0 0 1-10-10V76a10 10 0 0 1 10-10z"/><path class="a" d="M86 34h28v36H86z"/><circle class="w" cx="100" cy="46" r="6"/><path class="s" d="M70 90c20-8 40 8 60 0M70 112c20-8 40 8 60 0M70 134c20-8 40 8 60 0" opacity=".35"/>"#,
    ),
    (
        "pendant",
        r#"<path class="s" d="M100 16v52"/><path class="d" d="M90 60h20v12H90z"/><path class="a" d="M100 70c40 0 58 26 60 56H40c2-30 20-56 60-56z"/><path class="l" d="M40 126h120v8H40z"/><path class="w" d="M84 134h32a16 16 0 0 1-32 0z"/><path class="w" opacity=".35" d="M52 138h96l22 50H30z"/>"#,
    ),
    (
        "lamp",
        r#"<path class="s" d="M96 150 74 104l40-36"/><path class="a" d="M104 44l40 26-8 34-58-38z"/><path class="w" d="M78 66l58 38a34 34 0 0 1-58-38z" opacity=".8"/><circle class="d" cx="74" cy="104" r="7"/><path class="d" d="M66 150h60a6 6 0 0 1 6 8H60a6 6 0 0 1 6-8z"/>"#,
    ),
    (
        "lantern",
        r#"<path class="s" d="M78 58a22 22 0 0 1 44 0"/><path class="d" d="M68 58h64l8 16H60z"/><path class="w" d="M66 74h68v66H66z"/><path class="a" d="M100 92c14 16 14 34 0 38-14-4-14-22 0-38z"/><path class="s" d="M66 74v66M134 74v66"/><path class="d" d="M58 140h84v16H58z"/>"#,
    ),
    (
        "candle",
        r#"<path class="l" d="M64 84h26v72H64z"/><path class="a" d="M90 64h26v92H90z"/><path class="d" d="M116 98h24v58h-24z"/><path class="w" d="M103 30c12 14 10 26 0 28-10-2-12-14 0-28zM77 54c9 11 8 20 0 22-8-2-9-11 0-22zM128 68c9 11 8 20 0 22-8-2-9-11 0-22z"/><path class="d" d="M50 156h104v6H50z"/>"#,
    ),
    (
        "headphones",
        r#"<path class="s" d="M48 118V104a52 52 0 0 1 104 0v14" stroke-width="10"/><rect class="a" x="36" y="108" width="30" height="50" rx="13"/><rect class="a" x="134" y="108" width="30" height="50" rx="13"/><rect class="l" x="58" y="112" width="10" height="42" rx="5"/><rect class="l" x="132" y="112" width="10" height="42" rx="5"/>"#,
    ),
    (
        "speaker",
        r#"<rect class="a" x="58" y="34" width="84" height="132" rx="10"/><circle class="d" cx="100" cy="116" r="32"/><circle class="l" cx="100" cy="116" r="14"/><circle class="d" cx="100" cy="62" r="14"/><circle class="l" cx="100" cy="62" r="5"/>"#,
    ),
    (
        "turntable",
        r#"<rect class="a" x="28" y="56" width="144" height="96" rx="8"/><circle class="d" cx="86" cy="104" r="40"/><circle class="s" cx="86" cy="104" r="28" stroke-width="1"/><circle class="l" cx="86" cy="104" r="12"/><path class="s" d="M150 70v44l-30 18" stroke-width="5"/><circle class="w" cx="150" cy="70" r="8"/><path class="d" d="M40 152h16v8H40zM144 152h16v8h-16z"/>"#,
    ),
    (
        "radio",
        r#"<path class="s" d="M140 66 164 26"/><rect class="a" x="30" y="66" width="140" height="84" rx="12"/><circle class="d" cx="72" cy="108" r="28"/><path class="s" d="M54 98h36M48 108h48M54 118h36" stroke-width="3" opacity=".6"/><rect class="w" x="112" y="82" width="44" height="16" rx="3"/><circle class="l" cx="122" cy="124" r="9"/><circle class="l" cx="148" cy="124" r="9"/>"#,
    ),
    (
        "notebook",
        r#"<rect class="d" x="62" y="40" width="88" height="124" rx="6"/><rect class="a" x="54" y="34" width="88" height="124" rx="6"/><path class="d" d="M54 40a6 6 0 0 1 6-6h10v124H60a6 6 0 0 1-6-6z"/><rect class="w" x="84" y="58" width="44" height="24" rx="3"/><path class="l" d="M124 34h8v128l-4-5-4 5z"/>"#,
    ),
    (
        "pen",
        r#"<g transform="rotate(40 100 100)"><rect class="a" x="90" y="28" width="20" height="96" rx="6"/><rect class="d" x="90" y="84" width="20" height="10"/><path class="l" d="M90 124h20l-10 40z"/><path class="s" d="M100 134v22" stroke-width="2"/><rect class="d" x="110" y="36" width="6" height="44" rx="3"/></g>"#,
    ),
    (
        "clock",
        r#"<circle class="d" cx="100" cy="100" r="66"/><circle class="a" cx="100" cy="100" r="58"/><circle class="w" cx="100" cy="100" r="48"/><path class="s" d="M100 100V68M100 100l24 14" stroke-width="5"/><path class="s" d="M100 56v6M100 138v6M56 100h6M138 100h6" stroke-width="3"/><circle class="a" cx="100" cy="100" r="5"/>"#,
    ),
    (
        "tray",
        r#"<path class="l" d="M34 82h132v14H34z"/><path class="a" d="M28 78h10v26h124V78h10v36H28z"/><path class="l" d="M40 126h120v10H40z"/><path class="d" d="M28 118h10v26h124v-26h10v36H28z"/><path class="w" d="M52 60h80l14 18H46z"/>"#,
    ),
    (
        "plant",
        r#"<path class="g" d="M98 116C60 110 46 78 52 50c30 6 48 30 48 60zM102 116c0-40 18-62 50-68 6 34-12 62-46 70zM98 112C84 84 88 50 104 30c16 24 16 56 2 84z"/><path class="p" d="M66 112h68l-9 50H75z"/><path class="q" d="M62 108h76v14H62z"/>"#,
    ),
    (
        "can",
        r#"<path class="s" d="M78 76c0-40 66-40 66 6v12"/><path class="a" d="M72 82h72v70H72z"/><path class="d" d="M72 132 34 84l8-6 30 32z"/><path class="l" d="M24 84l22-18 6 8-22 18z"/><path class="d" d="M72 82h72v10H72z"/>"#,
    ),
    (
        "birdhouse",
        r#"<path class="s" d="M100 20v24"/><path class="a" d="M60 86h80v72H60z"/><path class="d" d="M100 36 158 92l-10 8-48-44-48 44-10-8z"/><circle class="k" cx="100" cy="108" r="15"/><path class="s" d="M100 136h0M100 132v10" stroke-width="6"/>"#,
    ),
    (
        "trowel",
        r#"<g transform="rotate(35 100 100)"><rect class="a" x="90" y="24" width="20" height="58" rx="9"/><path class="s" d="M100 80v24" stroke-width="7"/><path class="l" d="M76 102h48v26c0 24-16 36-24 46-8-10-24-22-24-46z"/><path class="d" d="M100 102h24v26c0 24-16 36-24 46z" opacity=".35"/></g>"#,
    ),
];

/// The drawings of bags, which come in one shape family.
const BAGS: [(&str, &str); 4] = [
    (
        "backpack",
        r#"<path class="s" d="M84 42a16 16 0 0 1 32 0"/><path class="a" d="M100 38c34 0 44 24 44 52v60a12 12 0 0 1-12 12H68a12 12 0 0 1-12-12V90c0-28 10-52 44-52z"/><rect class="d" x="66" y="108" width="68" height="42" rx="8"/><path class="l" d="M66 116h68v8H66zM72 74h56v8H72z"/><rect class="w" x="94" y="112" width="12" height="16" rx="2"/>"#,
    ),
    (
        "tote",
        r#"<path class="s" d="M76 78c0-54 48-54 48 0" stroke-width="7"/><path class="a" d="M48 74h104l8 88H40z"/><path class="d" d="M48 74h104l1 12H47z"/><path class="l" d="M84 108h32v26H84z"/>"#,
    ),
    (
        "duffel",
        r#"<path class="s" d="M72 90c4-48 52-48 56 0" stroke-width="6"/><rect class="a" x="26" y="80" width="148" height="72" rx="32"/><path class="d" d="M62 80h12v72H62zM126 80h12v72h-12z"/><path class="l" d="M50 90h100v5H50z"/>"#,
    ),
    (
        "wallet",
        r#"<rect class="d" x="40" y="62" width="120" height="84" rx="10"/><path class="w" d="M56 54h88v30H56z"/><path class="l" d="M52 62h96v26H52z"/><path class="a" d="M40 84h120v52a10 10 0 0 1-10 10H50a10 10 0 0 1-10-10z"/><circle class="d" cx="140" cy="114" r="7"/>"#,
    ),
];

fn drawing(motif: &str) -> Option<&'static str> {
    MOTIFS
        .iter()
        .chain(&BAGS)
        .find(|(name, _)| *name == motif)
        .map(|(_, drawing)| *drawing)
}

/// Whether there is a drawing of that name.
#[must_use]
pub fn knows(motif: &str) -> bool {
    drawing(motif).is_some()
}

/// An SVG element showing `motif` in the colour `hue` (degrees); a plain disc when there is no such
/// drawing. Its classes are styled by the page.
#[must_use]
pub fn picture(motif: &str, hue: u16) -> String {
    let mut svg = String::with_capacity(900);
    let _ = write!(
        svg,
        r#"<svg class="picture" viewBox="0 0 200 200" style="--hue:{hue}" aria-hidden="true"><rect class="b" width="200" height="200"/><ellipse class="f" cx="100" cy="162" rx="62" ry="9"/>{}</svg>"#,
        drawing(motif).unwrap_or(r#"<circle class="a" cx="100" cy="100" r="50"/>"#)
    );
    svg
}
