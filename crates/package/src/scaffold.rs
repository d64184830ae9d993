//! A package to begin with.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use wright_model::Name;

use crate::{Error, MANIFEST_FILE};

const MANIFEST: &str = include_str!("../templates/package.toml");
const PROGRAM: &str = include_str!("../templates/program.sh");

/// Writes a new package that can be built at once: a commented manifest and a small program that
/// serves a page. `dir` is made; it must not exist, or be empty.
///
/// # Errors
/// [`Error::Exists`] where something is in `dir`, [`Error::Io`] where it cannot be written.
pub fn scaffold(dir: &Path, name: &Name) -> Result<(), Error> {
    let bin = dir.join("bin");
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    if fs::read_dir(dir)
        .map_err(Error::io("read", dir))?
        .next()
        .is_some()
    {
        return Err(Error::Exists {
            path: dir.to_owned(),
        });
    }
    fs::create_dir(&bin).map_err(Error::io("create", &bin))?;
    write(&dir.join(MANIFEST_FILE), MANIFEST, 0o644, name)?;
    write(&bin.join(name.as_str()), PROGRAM, 0o755, name)
}

fn write(file: &Path, template: &str, mode: u32, name: &Name) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .and_then(|mut open| open.write_all(template.replace("NAME", name.as_str()).as_bytes()))
        .map_err(Error::io("write", file))
}
