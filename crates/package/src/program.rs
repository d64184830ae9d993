use std::path::{Path, PathBuf};

/// The program that the first word of an expanded command means: a path that begins with `/` is
/// itself; anything else is looked for in the unpacked package, and is then left for `PATH`.
pub fn find_program(word: &str, package: &Path) -> PathBuf {
    let inside = package.join(word);
    if !word.starts_with('/') && inside.is_file() {
        inside
    } else {
        PathBuf::from(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_in_the_package_first() {
        let package = tempfile::tempdir().unwrap();
        std::fs::create_dir(package.path().join("bin")).unwrap();
        std::fs::write(package.path().join("bin/hello"), "").unwrap();
        assert_eq!(
            find_program("bin/hello", package.path()),
            package.path().join("bin/hello")
        );
        assert_eq!(
            find_program("postgres", package.path()),
            Path::new("postgres")
        );
        assert_eq!(find_program("bin", package.path()), Path::new("bin"));
        assert_eq!(
            find_program("/bin/sh", package.path()),
            Path::new("/bin/sh")
        );
    }
}
