//! Generates the gRPC code from `proto/agent.proto` without needing `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/agent.proto");
    let files = protox::compile(["proto/agent.proto"], ["proto"])?;
    // Shared by the streams of all agents, not copied for each.
    tonic_prost_build::configure()
        .bytes(".wright.agent.v1.Table.body")
        .codec_path("crate::codec::Frugal")
        .compile_fds(files)?;
    Ok(())
}
