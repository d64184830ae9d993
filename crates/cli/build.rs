//! How `wright` is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Relocations in a bitmap: 16 KiB in place of 1.2 MiB that every process would read, and keep
    // resident, at its start. The host needs glibc 2.36 or later.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
}
