//! Links the plugin lazily: in a host that opened its LLDB privately, LLDB's names are found only after the plugin's
//! entry point has made them visible, so they must not be bound when the plugin is loaded. It is never unloaded again:
//! LLDB holds commands of ours for as long as it lives.
fn main() {
    println!("cargo:rustc-link-arg-cdylib=-Wl,-z,lazy");
    println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
    // Unit tests run without a host, and call nothing of LLDB's.
    println!("cargo:rustc-link-arg=-Wl,-z,lazy,--unresolved-symbols=ignore-all");
    println!("cargo:rerun-if-changed=build.rs");
}
