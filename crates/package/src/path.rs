//! What a path inside an archive may be.

/// The longest path, in bytes: what a ustar header holds.
pub(crate) const MAX_LENGTH: usize = 255;

/// The most components a path may have.
pub(crate) const MAX_DEPTH: usize = 32;

/// The longest target of a symbolic link, in bytes: what a ustar header holds.
pub(crate) const MAX_TARGET: usize = 100;

/// Says why a path may not be in an archive, if it may not.
pub(crate) fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it is empty");
    }
    if path.len() > MAX_LENGTH {
        return Err("it is longer than 255 bytes");
    }
    if path.chars().any(char::is_control) {
        return Err("it holds a control character");
    }
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    for component in path.split('/') {
        match component {
            ".." => return Err("it climbs out with `..`"),
            "" | "." => return Err("it holds an empty component or `.`"),
            _ => {}
        }
    }
    if depth(path) > MAX_DEPTH {
        return Err("it is more than 32 directories deep");
    }
    Ok(())
}

/// Says why a symbolic link at `path` may not point to `target`, if it may not.
///
/// `..` may only stand at the beginning, where it climbs from real directories. Behind a name it
/// could climb from wherever another link leads, which no look at the text alone can bound.
pub(crate) fn check_link(path: &str, target: &str) -> Result<(), &'static str> {
    if target.is_empty() {
        return Err("its target is empty");
    }
    if target.len() > MAX_TARGET {
        return Err("its target is longer than 100 bytes");
    }
    if target.chars().any(char::is_control) {
        return Err("its target holds a control character");
    }
    if target.starts_with('/') {
        return Err("its target is absolute");
    }
    let mut climbed = 0;
    let mut named = false;
    for component in target.split('/') {
        match component {
            ".." if named => return Err("its target has `..` behind a name"),
            ".." => climbed += 1,
            "" | "." => {}
            _ => named = true,
        }
    }
    if climbed >= depth(path) {
        Err("its target is outside the package")
    } else {
        Ok(())
    }
}

/// The directory that a path lies in; `None` at the top.
pub(crate) fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

fn depth(path: &str) -> usize {
    path.split('/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(check("bin/hello world"), Ok(()));
        let deep = ["d"; 33].join("/");
        let long = "x".repeat(256);
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../x",
            "a//b",
            "./a",
            "a/",
            "a\nb",
            &deep,
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn links_stay_inside() {
        for (path, target) in [
            ("lib/a", "b"),
            ("lib/a", "../bin/b"),
            ("lib/x/a", "../../b/./c"),
        ] {
            assert_eq!(check_link(path, target), Ok(()), "{path} -> {target}");
        }
        for (path, target) in [
            ("a", ".."),
            ("a", "../b"),
            ("d/a", "../../b"),
            ("d/a", "/b"),
            ("d/a", "b/../../../c"),
            ("a", ""),
        ] {
            assert!(check_link(path, target).is_err(), "{path} -> {target}");
        }
    }
}
