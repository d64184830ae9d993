//! The launcher alone, for whoever runs an executor outside `wright`.

fn main() -> std::process::ExitCode {
    wright_agent::launch()
}
