//! The program `nengo-wgpu`: trains and runs networks that TOML files describe.

mod cli;

fn main() -> std::process::ExitCode {
    be_quiet_without_a_display();
    cli::main()
}

/// Mesa's layer that sorts devices asks the display which one it uses. Where there is none, it prints errors, and there is
/// nothing to ask.
#[allow(unsafe_code, reason = "the first thing that the program does: no other thread reads the environment")]
fn be_quiet_without_a_display() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: there is only this thread yet.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
