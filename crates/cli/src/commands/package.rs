//! `wright package …`

use std::path::{Path, PathBuf};

use wright_package::{Addition, Keyring, Signature, signature_path};
use wright_server::api::PackageView;

use crate::{
    args::{Format, PackageCommand},
    client::Client,
    failure::Failure,
    output,
};

/// Does it.
pub async fn run(data: &Path, format: Format, command: PackageCommand) -> Result<(), Failure> {
    match command {
        PackageCommand::New { directory } => new(&directory),
        PackageCommand::Build {
            directory,
            add,
            out,
        } => build(data, format, &directory, &add, &out),
        PackageCommand::Verify { archive } => verify(data, format, &archive),
        PackageCommand::Push { archives } => push(&Client::open(data)?, format, &archives).await,
        PackageCommand::List => show(&Client::open(data)?, format, "/packages").await,
        PackageCommand::Show { package } => {
            show(
                &Client::open(data)?,
                format,
                &format!("/packages/{package}"),
            )
            .await
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}

fn new(directory: &Path) -> Result<(), Failure> {
    let name = directory
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let name = name
        .parse()
        .map_err(|error| Failure::usage(format!("{}: {error}", directory.display())))?;
    wright_package::scaffold(directory, &name).map_err(failed)?;
    output::say(&format!(
        "made {0}; build it with `wright package build {0}`",
        directory.display()
    ));
    Ok(())
}

fn build(
    data: &Path,
    format: Format,
    directory: &Path,
    add: &[String],
    out: &Path,
) -> Result<(), Failure> {
    let additions: Result<Vec<Addition>, _> = add.iter().map(|text| text.parse()).collect();
    let additions = additions.map_err(|error| Failure::usage(format!("--add: {error}")))?;
    std::fs::create_dir_all(out)?;
    std::fs::create_dir_all(data)?;
    let built = wright_package::build(directory, &additions, out).map_err(failed)?;
    let signature = wright_server::own_key(data)
        .map_err(failed)?
        .sign(&built.id.digest);
    std::fs::write(signature_path(&built.archive), format!("{signature}\n"))?;
    output::print(format, &built.id, |id| {
        format!("{}  {id}  {}", built.archive.display(), id.digest.short())
    })
}

fn verify(data: &Path, format: Format, archive: &Path) -> Result<(), Failure> {
    let signature = Signature::try_from(&signature_of(archive)?[..]).map_err(failed)?;
    let mut keyring = Keyring::load(&data.join("server/keys")).map_err(failed)?;
    keyring.trust(wright_server::own_key(data).map_err(failed)?.public());
    let contents = wright_package::inspect(archive).map_err(failed)?;
    keyring.check(&contents.id, &signature).map_err(failed)?;
    output::print(format, &contents.id, |id| {
        format!(
            "{id}: every file and the signature are right (key {})",
            signature.key_id
        )
    })
}

/// The signature that lies beside an archive.
fn signature_of(archive: &Path) -> Result<Vec<u8>, Failure> {
    let file = signature_path(archive);
    std::fs::read(&file).map_err(|error| {
        Failure::failed(format!(
            "the signature of {} cannot be read: {}: {error}\n  help: `wright package build` writes an archive and its signature side by side; keep them together",
            archive.display(),
            file.display()
        ))
    })
}

async fn push(client: &Client, format: Format, archives: &[PathBuf]) -> Result<(), Failure> {
    let mut pushed = Vec::new();
    for archive in archives {
        let signature = signature_of(archive)?;
        let length = u32::try_from(signature.len()).map_err(failed)?;
        let head = [&length.to_be_bytes()[..], &signature].concat();
        let view: PackageView = client
            .upload("/packages", head, archive)
            .await
            .map_err(|failure| failure.about(&archive.display()))?;
        pushed.push(view);
    }
    output::print(format, &pushed, |pushed| table(pushed))
}

async fn show(client: &Client, format: Format, path: &str) -> Result<(), Failure> {
    let packages: Vec<PackageView> = client.get(path).await?;
    output::print(format, &packages, |packages| table(packages))
}

fn table(packages: &[PackageView]) -> String {
    let rows = packages.iter().map(|package| {
        [
            package.id.name.to_string(),
            package.id.version.to_string(),
            package.id.digest.short(),
            output::bytes(package.size),
            package.platform.clone(),
            package.key_id.clone(),
            package.description.clone(),
        ]
    });
    output::table(
        [
            "PACKAGE",
            "VERSION",
            "DIGEST",
            "SIZE",
            "PLATFORM",
            "KEY",
            "DESCRIPTION",
        ],
        rows,
    )
}
