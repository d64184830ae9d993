//! The command line: nouns, then verbs.

mod access;
mod inventory;
mod query;

pub use access::*;
pub use inventory::*;
pub use query::{GetArgs, QueryArgs};

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use wright_inventory::{exchange, feed::Position};
use wright_model::{Name, Operation};

/// Stands up whole sites with one command, and runs them.
#[derive(Debug, Parser)]
#[command(
    name = "wright",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(
    after_help = "Example:\n  wright dev --hosts 8 &\n  wright site up examples/shop/site.yaml\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (what was asked for goes on)"
)]
pub struct Arguments {
    /// The data directory: where the server keeps its state and clients find it.
    /// Default: the nearest `.wright` above the working directory, else `./.wright`.
    #[arg(long, global = true, env = "WRIGHT_DATA", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
    /// How to print what is found.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

/// How to print what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A server with hosts on this machine, in the foreground until Ctrl-C, which takes down every
    /// site and the hosts.
    #[command(after_help = "Example:\n  wright dev --hosts 8")]
    Dev(DevArgs),
    /// The control plane.
    #[command(
        after_help = "Examples:\n  wright server --data /var/lib/wright\n  wright server --data /var/lib/wright --store etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379 \\\n    --api 10.0.0.4:7400 --agents 10.0.0.4:7401 --master-key /etc/wright/master.key"
    )]
    Server(ServerArgs),
    /// The host daemon.
    #[command(
        after_help = "Example:\n  wright agent --home /var/lib/wright-agent --name h1 --address 10.0.0.7 --server https://10.0.0.1:7401"
    )]
    Agent(AgentArgs),
    /// Starts one supervised program (used by the agent).
    #[command(hide = true)]
    Launch,
    /// Simulated hosts that call a real server, to find out how large it must be; or, with
    /// --generate, a realistic site for them.
    #[command(
        after_help = "Examples:\n  wright simulate --generate --apps 500 --layers 10 --seed 1 --out site\n  wright simulate --hosts 1000 --behaviour instant"
    )]
    Simulate(SimulateArgs),
    /// Plan, build, change, explain and take down sites.
    #[command(
        subcommand,
        after_help = "Example:\n  wright site up examples/shop/site.yaml"
    )]
    Site(SiteCommand),
    /// Look at jobs and step in. A job is told by its id, or the beginning or end of it.
    #[command(subcommand, after_help = "Example:\n  wright job list")]
    Job(JobCommand),
    /// Look at hosts.
    #[command(subcommand, after_help = "Example:\n  wright host list")]
    Host(HostCommand),
    /// Make, verify and push packages.
    #[command(subcommand, after_help = "Example:\n  wright package new hello")]
    Package(PackageCommand),
    /// What runs: its operations and its log.
    #[command(
        subcommand,
        after_help = "Example:\n  wright instance logs -f shop/catalog-1"
    )]
    Instance(InstanceCommand),
    /// What happened: who did what to what, when and why.
    #[command(after_help = "Example:\n  wright events --follow")]
    Events {
        /// Go on with what happens from now.
        #[arg(short, long)]
        follow: bool,
        /// How many, from the newest.
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: u32,
    },
    /// Resources of the inventory; `wright get kind` shows what kinds there are.
    #[command(
        after_help = "Examples:\n  wright get kind\n  wright get host\n  wright get instance shop.catalog-1 -o yaml\n  wright get host --filter 'host.rack.room.name == \"b2\"' -l tier=gold --sort=-position --limit 20\n  wright get host -g web"
    )]
    Get(GetArgs),
    /// Resources by what they are: found, counted, grouped.
    #[command(
        after_help = "Examples:\n  wright query host 'host.model == \"compute\" && host.rack.room.name == \"b2\" && size(host.instances) < 4'\n  wright query host --select rack.room.name,model --sort=-position --limit 20\n  wright query '*' --group-by status\n  wright query host 'host.description.contains(\"legacy\")' --explain\n  wright query -g web --count"
    )]
    Query(QueryArgs),
    /// Resources of all kinds by words, or their beginnings: names first.
    #[command(
        after_help = "Examples:\n  wright search db-7\n  wright search legacy core --kind host,rack"
    )]
    Search {
        /// All of them must be there.
        #[arg(required = true)]
        words: Vec<String>,
        /// Of these kinds only.
        #[arg(long, value_delimiter = ',')]
        kind: Vec<String>,
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Every change of resources from now on, one line each; goes on by itself when the server was
    /// away.
    #[command(
        after_help = "Examples:\n  wright watch host\n  wright watch host --filter 'host.state == \"lost\"'\n  wright watch host --filter 'host.rack.room.name == \"b2\"'\n  wright watch host,rack -o json\n  wright watch -g web\n  wright watch instance --from 812"
    )]
    Watch(WatchArgs),
    /// Resources out of a file: what is there is changed to what the file says, the rest is made.
    #[command(
        after_help = "Examples:\n  wright import racks.csv --kind rack --dry-run\n  wright import inventory.yaml --why CHG-4711\n  wright import --from netbox netbox-demo-v4.2.sql"
    )]
    Import(ImportArgs),
    /// All resources of a kind, so that importing them again changes nothing.
    #[command(
        after_help = "Examples:\n  wright export rack > racks.jsonl\n  wright export rack racks.csv\n  wright export rack --format yaml\n  wright export host -g web"
    )]
    Export {
        kind: Name,
        /// Where to; standard output where there is none.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Only members of this group.
        #[arg(short, long)]
        group: Option<String>,
        /// csv, yaml or jsonl. Default: by the file's name, else jsonl.
        #[arg(long)]
        format: Option<exchange::Format>,
    },
    /// The inventory in the words of other programs.
    #[command(subcommand, after_help = "Example:\n  wright inventory ansible --list")]
    Inventory(InventoryCommand),
    /// Changes that are posted to others: how far they are, what was given up, doing it again.
    #[command(subcommand, after_help = "Example:\n  wright webhook list")]
    Webhook(WebhookCommand),
    /// Make resources what files say; each manager owns the fields that it applies.
    #[command(
        after_help = "Examples:\n  wright apply -f racks.yaml --dry-run\n  wright apply -f inventory/ --why CHG-1234\n  printf 'kind: room\\nname: b2\\nbody: { site: berlin }\\n' | wright apply -f -"
    )]
    Apply(ApplyArgs),
    /// Remove a resource, and what goes with it.
    #[command(after_help = "Example:\n  wright delete rack r7 --dry-run")]
    Delete(DeleteArgs),
    /// All about one resource: its fields, who owns them, and what changed last.
    #[command(
        after_help = "Examples:\n  wright describe host h3\n  wright describe rack r7 --at 2026-03-01T12:00:00Z"
    )]
    Describe(DescribeArgs),
    /// Make a resource what it was at a time or revision.
    #[command(after_help = "Example:\n  wright restore rack r7 --at 812 --why 'wrong room'")]
    Restore(RestoreArgs),
    /// The history of a resource: who changed what, when and why.
    #[command(after_help = "Example:\n  wright history host h3")]
    History { kind: Name, name: String },
    /// Where what is declared differs from what agents discovered, and what becomes of it.
    #[command(
        after_help = "Examples:\n  wright drift\n  wright drift host h3 --all\n  wright drift accept host h3 serial --why 'board replaced'\n  wright query host 'size(host.drift) > 0' --group-by rack"
    )]
    Drift(DriftArgs),
    /// Show who you are, with a password; asks for it.
    #[command(
        after_help = "Examples:\n  wright login ada\n  wright login --oidc\n  wright login ada --server https://10.0.0.1:7400 --ca ca.pem --data ~/.wright"
    )]
    Login(LoginArgs),
    /// End the session of `wright login`.
    #[command(after_help = "Example:\n  wright logout")]
    Logout,
    /// Who the server takes you for, and your roles.
    #[command(after_help = "Example:\n  wright whoami")]
    Whoami,
    /// Whether you may do something; exit code 1 where not.
    #[command(after_help = "Examples:\n  wright can operate site shop\n  wright can write rack")]
    Can(CanArgs),
    /// Tokens for programs (WRIGHT_TOKEN is taken in place of a session).
    #[command(
        subcommand,
        after_help = "Example:\n  wright token create ci --role developer --team web --expires 90d"
    )]
    Token(TokenCommand),
    /// Users who log in.
    #[command(
        subcommand,
        after_help = "Example:\n  wright user create ada --password"
    )]
    User(UserCommand),
    /// Who changed or tried to change what, and who read a secret.
    #[command(after_help = "Example:\n  wright audit --actor ada --outcome refused")]
    Audit(AuditArgs),
    /// Look after a store whose server does not run.
    #[command(subcommand, after_help = "Example:\n  wright store check")]
    Store(StoreCommand),
    /// JSON Schema of what people write, for editors.
    #[command(
        after_help = "Examples:\n  wright schema baseline > baseline.schema.json\n  wright schema kind rack > rack.schema.json"
    )]
    Schema {
        of: SchemaOf,
        /// Which kind; its bodies as the server knows them.
        #[arg(required_if_eq("of", "kind"))]
        name: Option<Name>,
    },
    /// Completions for a shell.
    #[command(after_help = "Example:\n  wright completions bash > /etc/bash_completion.d/wright")]
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Kinds, with commas between.
    #[arg(required_unless_present = "group")]
    pub kinds: Option<String>,
    /// Members of this group: what enters, changes and leaves it.
    #[arg(short, long)]
    pub group: Option<String>,
    /// Only those for which this is true, in CEL as in queries; of one kind.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub filter: String,
    /// Begin after this revision (of a list, or as an earlier watch told) in place of now.
    #[arg(long)]
    pub from: Option<Position>,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Origin {
    /// A dump of NetBox's database: `pg_dump`, or `manage.py dumpdata`.
    Netbox,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// CSV, YAML or JSON lines.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The kind of what does not name its own.
    #[arg(long)]
    pub kind: Option<Name>,
    /// Say what would change and every error; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// csv, yaml or jsonl. Default: by the file's name.
    #[arg(long)]
    pub format: Option<exchange::Format>,
    /// Another program's file.
    #[arg(long, value_enum, conflicts_with_all = ["kind", "format"])]
    pub from: Option<Origin>,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    pub why: String,
}

#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// A dynamic inventory of Ansible: hosts, and groups of them by label, site, app and state.
    #[command(
        after_help = "Example:\n  printf '#!/bin/sh\\nexec wright inventory ansible \"$@\"\\n' > wright.sh; chmod +x wright.sh\n  ansible -i wright.sh app_catalog -m ping"
    )]
    Ansible {
        /// All groups, with the variables of all hosts.
        #[arg(long, required_unless_present = "host", conflicts_with = "host")]
        list: bool,
        /// The variables of one host.
        #[arg(long)]
        host: Option<String>,
        /// Only members of this group.
        #[arg(short, long)]
        group: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// All webhooks, how far each is and what its receiver does not take.
    #[command(after_help = "Example:\n  wright webhook list")]
    List,
    /// Letters that were given up.
    #[command(after_help = "Example:\n  wright webhook dead billing")]
    Dead { webhook: String },
    /// Post again: everything after a revision, or one dead letter.
    #[command(
        after_help = "Examples:\n  wright webhook replay billing --from 812\n  wright webhook replay billing --dead billing.812"
    )]
    Replay {
        webhook: String,
        /// Everything after this revision or position.
        #[arg(long, required_unless_present = "dead", conflicts_with = "dead")]
        from: Option<Position>,
        /// The dead letter of this id.
        #[arg(long)]
        dead: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SchemaOf {
    Baseline,
    Site,
    /// The bodies of resources of a kind.
    Kind,
}

#[derive(Debug, Args)]
pub struct DevArgs {
    /// How many hosts (127.77.0.1 and up).
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=250))]
    pub hosts: u16,
    /// The second octet of the hosts' loopback addresses, to run several at once.
    #[arg(long, default_value_t = 77, value_parser = clap::value_parser!(u8).range(1..))]
    pub network: u8,
    #[command(flatten)]
    pub listen: Listen,
}

#[derive(Debug, Args)]
pub struct ServerArgs {
    #[command(flatten)]
    pub listen: Listen,
    /// The store: `file:DIR`, or `etcd://HOST:PORT,…`, which several servers share. Default: `store`
    /// in the data directory.
    #[arg(long, env = "WRIGHT_STORE")]
    pub store: Option<String>,
    /// Where agents and other servers reach --agents, as HOST:PORT. Default: there.
    #[arg(long)]
    pub advertise: Option<String>,
    /// The file with the key that secrets are sealed with, the same for all servers of a store.
    /// Default: `server/master.key` in the data directory, made with a new store.
    #[arg(long, value_hint = ValueHint::FilePath)]
    pub master_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Listen {
    /// Where the HTTP API listens.
    #[arg(long, default_value = "127.0.0.1:7400")]
    pub api: SocketAddr,
    /// Where agents call.
    #[arg(long, default_value = "127.0.0.1:7401")]
    pub agents: SocketAddr,
    /// A host that is not heard of for this long is given up.
    #[arg(long, default_value = "10s")]
    pub dead_after: wright_model::Span,
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The host's directory.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub home: PathBuf,
    /// The host's name.
    #[arg(long)]
    pub name: Name,
    /// Where its programs listen.
    #[arg(long)]
    pub address: std::net::IpAddr,
    /// A server to call; may be given several times. Servers tell agents of each other.
    #[arg(long, required = true)]
    pub server: Vec<String>,
    /// The first of the user ids it may give to programs; only as root.
    #[arg(long)]
    pub uid_base: Option<u32>,
}

/// How simulated hosts behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Behaviour {
    /// Operations take what they take for small services on ordinary machines.
    Typical,
    /// Nothing takes any time: what is left is the control plane's own.
    Instant,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// How many hosts to simulate, until Ctrl-C.
    #[arg(long, conflicts_with = "generate")]
    pub hosts: Option<u32>,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the hosts' agents call; may be given several times: each calls one, and the next when
    /// it fails.
    #[arg(long, default_value = "https://127.0.0.1:7401")]
    pub server: Vec<String>,
    /// The directory of the installation's certificate authority. Default: the data directory's.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub authority: Option<PathBuf>,
    /// What the hosts' names begin with.
    #[arg(long, default_value = "sim")]
    pub prefix: Name,
    /// Processors of each host.
    #[arg(long, default_value_t = 4.0)]
    pub cpu: f64,
    /// Memory of each host.
    #[arg(long, default_value = "8GiB")]
    pub memory: wright_model::ByteSize,
    /// How the hosts behave.
    #[arg(long, value_enum, default_value_t = Behaviour::Typical)]
    pub behaviour: Behaviour,
    /// The same in all detail, as TOML: times and failures by operation; parts of the hosts that
    /// are slow, dead, flapping or cut off.
    #[arg(long, value_hint = ValueHint::FilePath, conflicts_with = "behaviour")]
    pub profile: Option<PathBuf>,
    /// Write a site instead.
    #[arg(long, requires = "out")]
    pub generate: bool,
    /// The site's name.
    #[arg(long, default_value = "generated")]
    pub name: Name,
    /// How many apps it has.
    #[arg(long, default_value_t = 50)]
    pub apps: usize,
    /// How many instances in all. Default: ten for each app.
    #[arg(long)]
    pub instances: Option<u32>,
    /// How many layers.
    #[arg(long, default_value_t = 6)]
    pub layers: usize,
    /// The directory to write it to.
    #[arg(long, value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    Svg,
    Dot,
    Mermaid,
}

#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// What `up` would do, in order; changes nothing.
    #[command(
        after_help = "Example:\n  wright site plan examples/shop/site.yaml --graph svg > shop.svg"
    )]
    Plan {
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Draw the topology instead.
        #[arg(long, value_enum)]
        graph: Option<GraphFormat>,
    },
    /// Build a site, or change it to what the files say.
    #[command(after_help = "Example:\n  wright site up examples/shop/site.yaml --yes")]
    Up {
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
        /// Do not wait for the end.
        #[arg(long)]
        detach: bool,
        /// Write the report as a self-contained HTML page.
        #[arg(long, value_hint = ValueHint::FilePath)]
        report: Option<PathBuf>,
    },
    /// Take a site down and free everything.
    #[command(after_help = "Example:\n  wright site down shop --yes")]
    Down {
        site: Name,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
        /// Do not wait for the end.
        #[arg(long)]
        detach: bool,
    },
    /// A tree of apps and instances with their state.
    #[command(after_help = "Example:\n  wright site status shop")]
    Status { site: Name },
    /// Why an instance does not run, and what would help.
    #[command(after_help = "Example:\n  wright site explain shop catalog-1")]
    Explain { site: Name, instance: Option<Name> },
    /// The report of the last build or change.
    #[command(after_help = "Example:\n  wright site report shop --html report.html")]
    Report {
        site: Name,
        /// Write it as a self-contained HTML page.
        #[arg(long, value_hint = ValueHint::FilePath)]
        html: Option<PathBuf>,
    },
    /// All sites.
    #[command(after_help = "Example:\n  wright site list")]
    List,
}

#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Jobs, newest first.
    #[command(after_help = "Example:\n  wright job list")]
    List,
    /// One job: its graph with states.
    #[command(after_help = "Example:\n  wright job show 0199…")]
    Show { job: String },
    /// Follow a job to its end.
    #[command(after_help = "Example:\n  wright job watch 0199…")]
    Watch { job: String },
    /// Try the failed steps of a job again, or one of them while the job runs.
    #[command(
        after_help = "Examples:\n  wright job retry 0199… --reason 'disk was full'\n  wright job retry 0199… install/catalog-1@h3 --reason 'disk was full'"
    )]
    Retry {
        job: String,
        /// Only this step; its job must run or be paused.
        step: Option<String>,
        /// Why; kept with the job.
        #[arg(long)]
        reason: String,
    },
    /// Go on as if a failed step had succeeded; a job that has ended begins again without it.
    #[command(
        after_help = "Example:\n  wright job skip 0199… verify/catalog-1@h3 --reason 'the check is wrong'"
    )]
    Skip {
        job: String,
        step: String,
        /// Why; kept with the job.
        #[arg(long)]
        reason: String,
    },
    /// Start nothing more of a job; what runs goes on to its end.
    #[command(after_help = "Example:\n  wright job pause 0199… --reason 'looking at h3 first'")]
    Pause {
        job: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Go on with a paused job.
    #[command(after_help = "Example:\n  wright job resume 0199…")]
    Resume {
        job: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Say yes to what a step waits for; `wright job show` says what that is.
    #[command(
        after_help = "Example:\n  wright job approve 0199… approve-traffic --reason 'looks good'"
    )]
    Approve {
        job: String,
        step: String,
        /// Why; kept with the job.
        #[arg(long)]
        reason: String,
        /// What comes with the answer, as JSON; becomes part of the step's output.
        #[arg(long, default_value = "null")]
        value: serde_json::Value,
    },
    /// Say no to what a step waits for: the step fails.
    #[command(
        after_help = "Example:\n  wright job refuse 0199… approve-traffic --reason 'too many errors'"
    )]
    Refuse {
        job: String,
        step: String,
        /// Why; kept with the job.
        #[arg(long)]
        reason: String,
    },
    /// Stop a job; what is half made is taken back.
    #[command(after_help = "Example:\n  wright job cancel 0199… --reason 'wrong version'")]
    Cancel {
        job: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
}

impl JobCommand {
    /// The job it is about, as it was told.
    pub fn job_mut(&mut self) -> Option<&mut String> {
        match self {
            JobCommand::List => None,
            JobCommand::Show { job }
            | JobCommand::Watch { job }
            | JobCommand::Retry { job, .. }
            | JobCommand::Skip { job, .. }
            | JobCommand::Pause { job, .. }
            | JobCommand::Resume { job, .. }
            | JobCommand::Approve { job, .. }
            | JobCommand::Refuse { job, .. }
            | JobCommand::Cancel { job, .. } => Some(job),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// All hosts, or those of a group.
    #[command(after_help = "Examples:\n  wright host list\n  wright host list -g web")]
    List {
        /// Only members of this group.
        #[arg(short, long)]
        group: Option<String>,
    },
    /// One host.
    #[command(after_help = "Example:\n  wright host show h3")]
    Show { host: Name },
    /// Pull the plug: the host dies at once and for good, with all that runs there.
    #[command(after_help = "Example:\n  wright host kill h3")]
    Kill { host: Name },
}

#[derive(Debug, Subcommand)]
pub enum PackageCommand {
    /// A directory with a small package to begin with.
    #[command(after_help = "Example:\n  wright package new hello")]
    New {
        /// The directory; its last part is the package's name.
        directory: PathBuf,
    },
    /// Make the archive; the same input gives the same bytes.
    #[command(
        after_help = "Example:\n  wright package build examples/shop/packages/catalog --add bin/catalog=target/release/catalog"
    )]
    Build {
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
        /// A file or directory from elsewhere: PATH-IN-ARCHIVE=SOURCE.
        #[arg(long, value_name = "PATH=SOURCE")]
        add: Vec<String>,
        /// Where to write NAME-VERSION.wpk and its signature.
        #[arg(long, default_value = ".", value_hint = ValueHint::DirPath)]
        out: PathBuf,
    },
    /// Check an archive's hash and signature.
    #[command(after_help = "Example:\n  wright package verify catalog-1.4.0.wpk")]
    Verify {
        #[arg(value_hint = ValueHint::FilePath)]
        archive: PathBuf,
    },
    /// Put archives into the package store of the server.
    #[command(after_help = "Example:\n  wright package push dist/*.wpk")]
    Push {
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        archives: Vec<PathBuf>,
    },
    /// All packages.
    #[command(after_help = "Example:\n  wright package list")]
    List,
    /// All versions of one package.
    #[command(after_help = "Example:\n  wright package show catalog")]
    Show { package: Name },
}

#[derive(Debug, Args)]
pub struct Target {
    /// SITE/INSTANCE, or INSTANCE where there is one site.
    pub instance: String,
}

#[derive(Debug, Subcommand)]
pub enum InstanceCommand {
    /// All instances, or those of a group.
    #[command(after_help = "Examples:\n  wright instance list\n  wright instance list -g web")]
    List {
        /// Only members of this group, or what is on its hosts.
        #[arg(short, long)]
        group: Option<String>,
    },
    /// Does it do its work?
    #[command(after_help = "Example:\n  wright instance monitor shop/catalog-1")]
    Monitor(Target),
    /// Is what is installed what was shipped?
    #[command(after_help = "Example:\n  wright instance checksum shop/catalog-1")]
    Checksum(Target),
    /// Stop and start it.
    #[command(after_help = "Example:\n  wright instance restart shop/catalog-1")]
    Restart(Target),
    /// Stop it; others are no longer sent there.
    #[command(after_help = "Example:\n  wright instance stop shop/catalog-1")]
    Stop(Target),
    /// Start it.
    #[command(after_help = "Example:\n  wright instance start shop/catalog-1")]
    Start(Target),
    /// Free disk space that it can spare.
    #[command(after_help = "Example:\n  wright instance diskclear shop/catalog-1")]
    Diskclear(Target),
    /// Give it up with its data where its host is gone for good, or has it no more; it is set up anew.
    #[command(after_help = "Example:\n  wright instance forget shop/postgres-1 --yes")]
    Forget {
        #[command(flatten)]
        target: Target,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Its log.
    #[command(after_help = "Example:\n  wright instance logs -f shop/catalog-1")]
    Logs {
        #[command(flatten)]
        target: Target,
        /// Go on with what comes.
        #[arg(short, long)]
        follow: bool,
        /// How many lines, from the end.
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: u32,
    },
}

impl InstanceCommand {
    /// The operation and its target, where the command is one of the eight.
    pub fn operation(&self) -> Option<(Operation, &Target)> {
        Some(match self {
            InstanceCommand::Monitor(target) => (Operation::Monitor, target),
            InstanceCommand::Checksum(target) => (Operation::Checksum, target),
            InstanceCommand::Restart(target) => (Operation::Restart, target),
            InstanceCommand::Stop(target) => (Operation::Stop, target),
            InstanceCommand::Start(target) => (Operation::Start, target),
            InstanceCommand::Diskclear(target) => (Operation::Diskclear, target),
            InstanceCommand::List { .. }
            | InstanceCommand::Logs { .. }
            | InstanceCommand::Forget { .. } => return None,
        })
    }
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Check that the store is whole.
    #[command(after_help = "Example:\n  wright store check")]
    Check,
    /// Copy the store while it is in use.
    #[command(after_help = "Example:\n  wright store backup wright-backup.db")]
    Backup { file: PathBuf },
    /// Make a backup the store again, while no server runs. Watchers are told to list again.
    #[command(
        after_help = "Examples:\n  wright store restore wright-backup.db\n  wright store restore wright-backup.db --replace   # the store that is there is kept beside"
    )]
    Restore {
        /// What `wright store backup` made.
        file: PathBuf,
        /// Also where there is a store, which is kept beside.
        #[arg(long)]
        replace: bool,
    },
    /// Copy a store that no server uses into an empty one: keys and values, not history and leases.
    #[command(
        after_help = "Example:\n  wright store copy file:.wright/store etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379"
    )]
    Copy {
        /// `file:DIR` or `etcd://HOST:PORT,…`.
        from: String,
        /// `file:DIR` or `etcd://HOST:PORT,…`, with nothing in it.
        to: String,
    },
}
