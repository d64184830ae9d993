//! Generates the gRPC code from the files in `proto` without needing `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/agent.proto"], ["proto"])?;
    // Not copied: a table for each agent that it goes to, a task for its resending.
    tonic_prost_build::configure()
        .bytes(".wright.agent.v1.Table.body")
        .bytes(".wright.agent.v1.Task.body")
        .codec_path("crate::codec::Frugal")
        .compile_fds(files)?;
    let files = protox::compile(["proto/watch.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
