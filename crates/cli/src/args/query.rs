//! What `wright query` takes.

use clap::Args;
use wright_model::Name;

/// A query.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Such as host or rack; `*` for all kinds, which are counted and grouped. Default: the group's.
    #[arg(required_unless_present = "group")]
    pub kind: Option<String>,
    /// A condition in CEL; the resource is called by its kind.
    pub filter: Option<String>,
    /// Only members of this group.
    #[arg(short, long)]
    pub group: Option<String>,
    /// Fields to show, with commas between; references are followed: rack.room.name.
    #[arg(long, value_delimiter = ',')]
    pub select: Vec<String>,
    /// Fields to order by; `-` before one that goes downwards.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    pub sort: Vec<String>,
    /// Words that all must be there, or begin so.
    #[arg(long)]
    pub text: Option<String>,
    /// How many there are, no more.
    #[arg(long, conflicts_with_all = ["select", "sort", "group_by"])]
    pub count: bool,
    /// How many there are of each combination of up to four fields.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["select", "sort"])]
    pub group_by: Vec<String>,
    /// How many at most.
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// All there are, page by page, as they were when the first was asked for.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// What was done to find them, and what it cost.
    #[arg(long)]
    pub explain: bool,
}

/// Resources of a kind.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Such as host, site, instance or package.
    pub kind: Name,
    /// One of them.
    #[arg(conflicts_with_all = ["filter", "labels", "group", "sort", "limit"])]
    pub name: Option<String>,
    /// Only those for which this is true, in CEL; references are followed.
    #[arg(long)]
    pub filter: Option<String>,
    /// Only those with this label; may be given several times.
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Only members of this group.
    #[arg(short, long)]
    pub group: Option<String>,
    /// Fields to order by; `-` before one that goes downwards.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    pub sort: Vec<String>,
    /// How many at most. Default: all.
    #[arg(long)]
    pub limit: Option<usize>,
}

impl GetArgs {
    /// Whether all of the kind are meant.
    pub fn is_all(&self) -> bool {
        let chosen = [&self.filter, &self.group];
        chosen.iter().all(|it| it.is_none())
            && self.labels.is_empty()
            && self.sort.is_empty()
            && self.limit.is_none()
    }
}
