//! What `package.toml` may say, and what is answered where it says something else.

use wright_model::{Operation, Span};
use wright_package::{Action, Manifest, Platform, RunAs, Signal};

fn findings(text: &str) -> String {
    let findings = Manifest::parse(text, "package.toml").unwrap_err();
    findings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// One snapshot for each wrong manifest: what was written, and the answer.
macro_rules! refused {
    ($($case:ident: $text:expr;)*) => {$(
        #[test]
        fn $case() {
            let text: String = $text.into();
            let shown = if text.len() > 400 { "(long)" } else { &text };
            insta::with_settings!({ description => shown, omit_expression => true }, {
                insta::assert_snapshot!(findings(&text));
            });
        }
    )*};
}

/// A right manifest with something added.
fn with(more: &str) -> String {
    format!("name = \"hello\"\nversion = \"1.0.0\"\nrun = [\"bin/hello\"]\n{more}")
}

refused! {
    empty: "";
    not_toml: "name = \"hello\nversion = 1.0.0\n";
    key_twice: with("name = \"again\"\n");
    unknown_field: "name = \"hello\"\nverison = \"1.0.0\"\nrun = [\"bin/hello\"]\n";
    unknown_field_like_no_other: with("dependencies = []\n");
    unknown_operation: with("[operations.instal]\ncommand = [\"x\"]\n");
    unknown_field_of_an_operation: with("[operations.start]\nsignal = \"SIGINT\"\ntimout = \"5s\"\n");
    name_with_capitals: "name = \"Hello\"\nversion = \"1.0.0\"\nrun = [\"bin/hello\"]\n";
    version_of_two_numbers: "name = \"hello\"\nversion = \"1.0\"\nrun = [\"bin/hello\"]\n";
    version_as_a_number: "name = \"hello\"\nversion = 1.0\nrun = [\"bin/hello\"]\n";
    run_as_a_text: "name = \"hello\"\nversion = \"1.0.0\"\nrun = \"bin/hello\"\n";
    run_empty: "name = \"hello\"\nversion = \"1.0.0\"\nrun = []\n";
    run_with_a_number: "name = \"hello\"\nversion = \"1.0.0\"\nrun = [\"bin/hello\", 8080]\n";
    run_in_one_word: "name = \"hello\"\nversion = \"1.0.0\"\nrun = [\"bin/hello --port 8080\"]\n";
    run_of_nothing: "name = \"hello\"\nversion = \"1.0.0\"\nrun = [\"\"]\n";
    unknown_placeholder: "name = \"hello\"\nversion = \"1.0.0\"\nrun = [\"bin/hello\", \"--dir={dtaa}\"]\n";
    unknown_placeholder_like_no_other: with("[operations.install]\ncommand = [\"hooks/install\", \"{hostname}\"]\n");
    port_with_capitals: "name = \"hello\"\nversion = \"1.0.0\"\nrun = [\"bin/hello\", \"{port.HTTP_API}\"]\n";
    unknown_platform: with("platform = \"linux-x86-64\"\n");
    user_other_than_root: with("user = \"postgres\"\n");
    env_as_a_list: with("env = [\"A=b\"]\n");
    env_with_a_number: with("env = { PORT = 8080 }\n");
    env_name_with_a_hyphen: with("env = { \"LOG-LEVEL\" = \"info\" }\n");
    env_name_of_the_agent: with("env = { WRIGHT_HOST = \"me\" }\n");
    description_of_two_lines: with("description = \"one\\ntwo\"\n");
    timeout_without_unit: with("[operations.stop]\ntimeout = \"20\"\n");
    timeout_as_a_number: with("[operations.stop]\ntimeout = 20\n");
    timeout_of_nothing: with("[operations.stop]\ntimeout = \"0s\"\n");
    unknown_signal: with("[operations.stop]\nsignal = \"int\"\n");
    signal_beside_command: with("[operations.stop]\nsignal = \"SIGINT\"\ncommand = [\"hooks/stop\"]\n");
    path_that_climbs: with("[operations.diskclear]\npaths = [\"tmp\", \"../../etc\"]\n");
    path_of_the_data: with("[operations.diskclear]\npaths = [\"data\"]\n");
    operation_as_a_text: with("[operations]\ninstall = \"hooks/install.sh\"\n");
    everything_at_once: "name = 1\nversion = \"1\"\nrun = [\"{x}\"]\nuser = true\n";
    nested_too_deeply: with(&format!("x = {}{}\n", "[".repeat(2000), "]".repeat(2000)));
    too_large: with(&"# padding\n".repeat(7000));
}

#[test]
fn five_lines_are_enough() {
    let manifest = Manifest::parse(super::support::MANIFEST, "package.toml").unwrap();
    assert_eq!(manifest.run, ["bin/hello"]);
    assert_eq!(
        (manifest.platform.clone(), manifest.user),
        (Platform::Any, RunAs::Own)
    );
    let actions = Operation::ALL.map(|operation| manifest.operation(operation).action);
    assert_eq!(
        actions,
        [
            Action::Unpack,
            Action::Run(vec!["bin/hello".to_owned()]),
            Action::Signal(Signal::Term),
            Action::StopStart,
            Action::Readiness,
            Action::Clear(Vec::new()),
            Action::Remove,
            Action::Compare,
        ]
    );
    assert_eq!(
        manifest.operation(Operation::Stop).timeout,
        Span::from_secs(10)
    );
}

#[test]
fn operations_can_be_done_otherwise() {
    let manifest = Manifest::parse(
        &with(
            "user = \"root\"\nenv = { LANG = \"C\" }\n\
             [operations.install]\ncommand = [\"hooks/install.sh\", \"{data}\"]\ntimeout = \"90s\"\n\
             [operations.stop]\nsignal = \"SIGINT\"\ntimeout = \"20s\"\n\
             [operations.diskclear]\npaths = [\"log\", \"tmp\"]\n",
        ),
        "package.toml",
    )
    .unwrap();
    assert_eq!(
        (manifest.user, manifest.env["LANG"].as_str()),
        (RunAs::Root, "C")
    );
    let install = manifest.operation(Operation::Install);
    assert_eq!(install.timeout, Span::from_secs(90));
    assert_eq!(
        install.action,
        Action::Command(vec!["hooks/install.sh".into(), "{data}".into()])
    );
    assert_eq!(
        manifest.operation(Operation::Stop).action,
        Action::Signal(Signal::Int)
    );
    let cleared = vec!["log".to_owned(), "tmp".to_owned()];
    assert_eq!(
        manifest.operation(Operation::Diskclear).action,
        Action::Clear(cleared)
    );
}

#[test]
fn a_restart_may_take_as_long_as_its_stop_and_start() {
    let manifest = Manifest::parse(
        &with("[operations.stop]\ntimeout = \"20s\"\n"),
        "package.toml",
    )
    .unwrap();
    assert_eq!(
        manifest.operation(Operation::Restart).timeout,
        Span::from_secs(80)
    );
}

#[test]
fn a_start_command_is_supervised_and_needs_no_run() {
    let text = "name = \"a\"\nversion = \"1.0.0\"\n[operations.start]\ncommand = [\"bin/a\"]\n";
    let manifest = Manifest::parse(text, "package.toml").unwrap();
    assert_eq!(
        manifest.operation(Operation::Start).action,
        Action::Run(vec!["bin/a".to_owned()])
    );
}

#[test]
fn a_manifest_survives_json() {
    let more = "platform = \"linux-x86_64\"\n[operations.stop]\nsignal = \"SIGQUIT\"\n";
    let manifest = Manifest::parse(&with(more), "package.toml").unwrap();
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
}
