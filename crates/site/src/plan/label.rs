use std::fmt;

/// A step's name taken apart: `{verb}/{instance or package}@{host}#{digest}`.
///
/// ```
/// use wright_site::Label;
///
/// let label = Label::of("fetch/postgres@15.0.0@h1#33e42a4354eb");
/// assert_eq!((label.verb, label.what, label.host), ("fetch", "postgres@15.0.0", "h1"));
/// assert_eq!(label.to_string(), "fetch postgres@15.0.0 on h1");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    /// What does it.
    pub verb: &'a str,
    /// The instance, or the package of a fetch.
    pub what: &'a str,
    /// Where; empty where the name has none.
    pub host: &'a str,
}

impl<'a> Label<'a> {
    /// Of a step's name; a name of another form is all `what`.
    pub fn of(name: &'a str) -> Self {
        let bare = name.split('#').next().unwrap_or(name);
        let (place, host) = bare.rsplit_once('@').unwrap_or((bare, ""));
        let (verb, what) = place.split_once('/').unwrap_or(("", place));
        Label { verb, what, host }
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Label { verb, what, host } = self;
        if !verb.is_empty() {
            write!(f, "{verb} ")?;
        }
        f.write_str(what)?;
        if host.is_empty() {
            Ok(())
        } else {
            write!(f, " on {host}")
        }
    }
}
