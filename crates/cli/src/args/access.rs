//! Who calls, and what he may do.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use jiff::Timestamp;
use wright_access::{Act, Outcome};
use wright_model::Name;

#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The user; asked for where it is not said.
    #[arg(conflicts_with = "oidc")]
    pub user: Option<String>,
    /// Through the identity provider, in a browser on this machine.
    #[arg(long)]
    pub oidc: bool,
    /// Which identity provider, where there are several.
    #[arg(long, requires = "oidc")]
    pub provider: Option<Name>,
    /// Another server than that of client.json: `https://HOST:PORT`.
    #[arg(long, requires = "ca")]
    pub server: Option<String>,
    /// The file with that server's certificate authority, PEM.
    #[arg(long, requires = "server", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CanArgs {
    /// read, write, approve, operate, see-secrets or administer.
    pub act: Act,
    /// Such as host, site or rack.
    pub kind: Name,
    /// One of them; without: some of them at least.
    pub name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown this once.
    #[command(
        after_help = "Examples:\n  wright token create ci --role developer --team web --expires 90d\n  wright token create mine --user ada --kind host --kind rack"
    )]
    Create(TokenArgs),
    /// Your tokens, or all of them if you may read them.
    #[command(after_help = "Example:\n  wright token list")]
    List,
    /// Withdraw a token, by its id or its name.
    #[command(after_help = "Example:\n  wright token revoke ci")]
    Revoke { token: String },
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What it is called.
    pub name: String,
    /// It has this user's rights, and goes when he goes.
    #[arg(long)]
    pub user: Option<String>,
    /// Its roles; with --user: only these of his. May be given several times.
    #[arg(long, required_unless_present = "user")]
    pub role: Vec<String>,
    /// Only for this kind. May be given several times.
    #[arg(long)]
    pub kind: Vec<Name>,
    /// Only for what this team owns. May be given several times.
    #[arg(long)]
    pub team: Vec<Name>,
    /// How long it lasts, such as 90d or 8h; without: until it is revoked.
    #[arg(long)]
    pub expires: Option<wright_model::Span>,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user; with --password, asks for it.
    #[command(
        after_help = "Example:\n  wright user create ada --full-name 'Ada Lovelace' --password"
    )]
    Create {
        name: String,
        #[arg(long, default_value = "")]
        full_name: String,
        #[arg(long, default_value = "")]
        email: String,
        /// Ask for a password; without one he can log in through an identity provider only.
        #[arg(long)]
        password: bool,
    },
    /// All users.
    #[command(after_help = "Example:\n  wright user list")]
    List,
    /// Set a password; asks for it. His sessions end.
    #[command(after_help = "Example:\n  wright user password ada")]
    Password { name: String },
    /// Shut a user out, with every session and token he has.
    #[command(after_help = "Example:\n  wright user disable ada")]
    Disable { name: String },
    /// Let him in again.
    #[command(after_help = "Example:\n  wright user enable ada")]
    Enable { name: String },
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// By whom.
    #[arg(long)]
    pub actor: Option<String>,
    /// To which kind.
    #[arg(long)]
    pub kind: Option<String>,
    /// To which of it.
    #[arg(long)]
    pub name: Option<String>,
    /// read, write, approve, operate, see-secrets or administer.
    #[arg(long)]
    pub act: Option<Act>,
    /// done, refused or failed.
    #[arg(long)]
    pub outcome: Option<Outcome>,
    /// From when on, RFC 3339.
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// Until when, RFC 3339.
    #[arg(long)]
    pub until: Option<Timestamp>,
    /// How many, from the newest.
    #[arg(short = 'n', long, default_value_t = 50)]
    pub lines: u32,
}
