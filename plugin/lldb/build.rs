//! Links the example as the plugin is linked (plugin/mp-scan/build.rs has the reasons).
fn main() {
    println!("cargo:rustc-link-arg=-Wl,-z,lazy");
    println!("cargo:rustc-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
