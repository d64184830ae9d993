//! The inventory's commands that write, and those that look at one resource.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use wright_model::Name;

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A file, or a directory of *.yaml and *.json, with resources: `kind`, `name`, `labels`, `body`;
    /// `-` is standard input. May be given several times.
    #[arg(short, long = "file", required = true, value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// In whose name; whoever applied a field owns it. Default: you.
    #[arg(long, default_value = "")]
    pub manager: String,
    /// Take over fields that others own.
    #[arg(long)]
    pub force: bool,
    /// Only say what would be.
    #[arg(long)]
    pub dry_run: bool,
    /// Kept in the history, such as a change's number.
    #[arg(long, default_value = "")]
    pub why: String,
}

#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Such as rack.
    pub kind: Name,
    /// Which.
    pub name: String,
    /// Do not ask where others go with it.
    #[arg(short, long)]
    pub yes: bool,
    /// Only say what would go, and what would no longer refer to it.
    #[arg(long)]
    pub dry_run: bool,
    /// Kept in the history.
    #[arg(long, default_value = "")]
    pub why: String,
}

#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Such as rack.
    pub kind: Name,
    /// Which.
    pub name: String,
    /// As it was at a time (RFC 3339) or a revision.
    #[arg(long)]
    pub at: Option<String>,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Such as rack.
    pub kind: Name,
    /// Which.
    pub name: String,
    /// A time (RFC 3339) or a revision, as `wright history` shows them.
    #[arg(long)]
    pub at: String,
    /// Only say what would change.
    #[arg(long)]
    pub dry_run: bool,
    /// Kept in the history.
    #[arg(long, default_value = "")]
    pub why: String,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DriftArgs {
    #[command(subcommand)]
    pub command: Option<DriftCommand>,
    /// Of one kind, such as host.
    pub kind: Option<Name>,
    /// Of one resource.
    pub name: Option<String>,
    /// Also what is tolerated, and what nobody declared.
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Subcommand)]
pub enum DriftCommand {
    /// Declare what was discovered.
    #[command(
        after_help = "Examples:\n  wright drift accept host h3 serial --why 'board replaced, CHG-1234'\n  wright drift accept host h3 mac --value aa:bb:cc:00:11:22"
    )]
    Accept {
        #[command(flatten)]
        field: ResolveArgs,
        /// Which one, where several were discovered.
        #[arg(long)]
        value: Option<String>,
    },
    /// Say that it may differ, until something else is discovered.
    #[command(
        after_help = "Example:\n  wright drift tolerate host h3 memory --why 'one module waits for its replacement'"
    )]
    Tolerate {
        #[command(flatten)]
        field: ResolveArgs,
    },
    /// Have it made what is declared, where the platform can: an instance that nobody recorded is
    /// stopped and uninstalled, one that is not where it is recorded is set up again.
    #[command(after_help = "Example:\n  wright drift revert host h3 instances.shop.catalog-1")]
    Revert {
        #[command(flatten)]
        field: ResolveArgs,
    },
}

#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// Such as host.
    pub kind: Name,
    /// Which.
    pub name: String,
    /// The field, as `wright drift` shows it.
    pub field: String,
    /// Kept in the history.
    #[arg(long, default_value = "")]
    pub why: String,
    /// Only say what would be.
    #[arg(long)]
    pub dry_run: bool,
}
