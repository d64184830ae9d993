//! One file for each noun.

mod access;
mod apply;
mod describe;
mod drift;
mod exchange;
mod host;
mod instance;
mod inventory;
mod job;
mod login;
mod loopback;
mod package;
mod query;
mod roles;
mod simulate;
mod site;
mod store;
mod watch;
mod webhook;

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use crate::{
    args::{Arguments, Command, Format, SchemaOf},
    client::Client,
    failure::Failure,
    output,
};

/// What every command that talks to a server has at hand.
pub struct Context {
    /// The server.
    pub client: Client,
    /// How to print.
    pub format: Format,
}

/// Does what the command line asks for.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let data = arguments.data.clone().unwrap_or_else(default_data);
    let data = std::path::absolute(&data)?;
    match arguments.command {
        Command::Dev(dev) => roles::dev(&data, dev),
        Command::Server(server) => roles::server(&data, server),
        Command::Agent(agent) => roles::agent(agent),
        Command::Simulate(simulate) => simulate::run(&data, simulate),
        Command::Store(command) => store::run(&data, arguments.output, command),
        Command::Schema { of, name: None } => schema(of),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "wright", &mut script);
            output::say(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
        Command::Launch => Err(Failure::usage("only an agent can ask for a launch")),
        command => roles::runtime()?.block_on(ask(&data, arguments.output, command)),
    }
}

async fn ask(data: &Path, format: Format, command: Command) -> Result<(), Failure> {
    let open = || {
        Ok::<_, Failure>(Context {
            client: Client::open(data)?,
            format,
        })
    };
    match command {
        Command::Site(command) => site::run(open()?, command).await,
        Command::Job(command) => job::run(open()?, command).await,
        Command::Host(command) => host::run(open()?, command).await,
        Command::Package(command) => package::run(data, format, command).await,
        Command::Instance(command) => instance::run(open()?, command).await,
        Command::Events { follow, lines } => inventory::events(open()?, follow, lines).await,
        Command::Get(args) => inventory::get(open()?, args).await,
        Command::Query(args) => query::query(open()?, args).await,
        Command::Search { words, kind, limit } => {
            query::search(open()?, &words, &kind, limit).await
        }
        Command::Watch(watching) => watch::run(open()?, watching).await,
        Command::Import(import) => exchange::import(open()?, import).await,
        Command::Export {
            kind,
            file,
            group,
            format,
        } => {
            let (file, group) = (file.as_deref(), group.as_deref());
            exchange::export(open()?, &kind, file, group, format).await
        }
        Command::Inventory(command) => exchange::ansible(open()?, command).await,
        Command::Webhook(command) => webhook::run(open()?, command).await,
        Command::Login(command) => login::login(data, command).await,
        Command::Logout => login::logout(data).await,
        Command::Whoami => login::whoami(open()?).await,
        Command::Can(command) => login::can(open()?, command).await,
        Command::Token(command) => access::token(open()?, command).await,
        Command::User(command) => access::user(open()?, command).await,
        Command::Audit(command) => access::audit(open()?, command).await,
        Command::Schema {
            of: SchemaOf::Kind,
            name: Some(kind),
        } => inventory::schema(open()?, &kind).await,
        Command::Schema { .. } => Err(Failure::usage("only `kind` takes a name")),
        Command::Apply(command) => apply::run(open()?, command).await,
        Command::Delete(command) => inventory::delete(open()?, command).await,
        Command::Describe(command) => describe::describe(open()?, command).await,
        Command::Restore(command) => inventory::restore(open()?, command).await,
        Command::Drift(command) => drift::drift(open()?, command).await,
        Command::History { kind, name } => inventory::history(open()?, &kind, &name).await,
        _ => Err(Failure::usage("this command does not talk to a server")),
    }
}

/// A text as a part of a URL (RFC 3986, 2.1).
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// A path, of a group where one is named.
fn of_group(path: &str, group: Option<&str>) -> String {
    match group {
        Some(group) => format!("{path}?group={}", encoded(group)),
        None => path.to_owned(),
    }
}

/// The nearest `.wright` above the working directory, else `./.wright`.
fn default_data() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here
        .ancestors()
        .map(|above| above.join(".wright"))
        .find(|data| data.is_dir());
    found.unwrap_or_else(|| here.join(".wright"))
}

fn schema(of: SchemaOf) -> Result<(), Failure> {
    let schema = match of {
        SchemaOf::Baseline => wright_site::schema::baseline(),
        SchemaOf::Site => wright_site::schema::site(),
        SchemaOf::Kind => return Err(Failure::usage("which kind?")),
    };
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| Failure::failed(error.to_string()))?;
    output::say(&text);
    Ok(())
}

/// Asks on the terminal; without one, refuses and names `--yes`.
pub fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    use std::io::{BufRead as _, IsTerminal as _, Write as _};
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{question} Nobody is there to ask: say --yes"
        )));
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was done")),
    }
}
