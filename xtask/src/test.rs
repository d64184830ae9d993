//! `cargo xtask test`: everything that must hold on main.

use crate::{Result, bench, debian, demo, packages, run, soak};

/// Runs it all, the quick checks first.
pub async fn test(only: Option<&str>) -> Result {
    let end_to_end = [
        "test",
        "--package",
        "wright-e2e",
        "--",
        "--nocapture",
        "--test-threads=1",
    ];
    if let Some(only) = only {
        prepare().await?;
        return run::cargo(&[&end_to_end[..], &[only]].concat()).await;
    }
    run::cargo(&["fmt", "--all", "--check"]).await?;
    run::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])
    .await?;
    docs().await?;
    prepare().await?;
    // The OpenID provider of the tests runs on it, and may come from elsewhere than Debian.
    if run::output(run::command("npm", ["--version"]))
        .await
        .is_err()
    {
        debian::ensure_any(&[&["nodejs"], &["npm"]]).await?;
    }
    // No tests as a release, the programs that they run excepted: with unwinding, which tests need, all
    // libraries would be built once more, for longer than the tests take.
    run::cargo(&["test", "--workspace", "--exclude", "wright-e2e"]).await?;
    run::cargo(&end_to_end).await?;
    soak::api::api(soak::api::SHORT).await?;
    bench::inventory::check().await?;
    demo::demo(true).await
}

/// What the tests run, and the programs that they ask how the inventory looks to them.
async fn prepare() -> Result {
    debian::ensure_any(&[&["ansible-core"], &["prometheus"]]).await?;
    packages::prepare().await.map(drop)
}

async fn docs() -> Result {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = run::command(cargo, ["doc", "--workspace", "--no-deps", "--quiet"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run::must(command).await
}
