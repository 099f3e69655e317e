//! The command line of the packer. `docs/packer.md` describes it.

mod command;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command::output::Format;
use command::settings::Settings;

/// Compiles an instruction set with clang into stencil packs.
///
/// Exit codes: 0 done, 1 failure (diff: the packs differ), 2 wrong usage, 3 no fit toolchain, 4 a stencil was refused.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// How results, and errors, are written to standard output.
    #[arg(long, value_enum, default_value_t = Format::Human, global = true)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the packs of an instruction set for one or several targets.
    Build {
        #[command(flatten)]
        settings: Settings,
        /// Settings from this file; else from packer.toml, if there is one.
        #[arg(long, value_name = "FILE", env = "COPATCH_PACKER_CONFIG")]
        config: Option<PathBuf>,
        /// Write packs even if they lack operations whose stencils were refused.
        #[arg(long)]
        keep_going: bool,
    },
    /// Shows a pack: header, operations, variants by axis, sizes; with --op the code of an operation, holes marked.
    Inspect {
        /// The pack file.
        pack: PathBuf,
        /// An operation, such as i32.add.
        #[arg(long, value_name = "NAME")]
        op: Option<String>,
        /// With --op: every register assignment, not one of each form.
        #[arg(long, requires = "op")]
        all: bool,
    },
    /// Checks a pack file in full.
    Verify {
        /// The pack file.
        pack: PathBuf,
        /// Check that it is signed with this key, too: minisign's public key file, or the key itself.
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Makes a key pair in minisign's format; the password is that in COPATCH_KEY_PASSWORD.
    Keygen {
        /// The file for the secret key; it must not exist.
        #[arg(long, value_name = "FILE")]
        secret: PathBuf,
        /// The file for the public key; it must not exist.
        #[arg(long, value_name = "FILE")]
        public: PathBuf,
        /// Do not encrypt the secret key.
        #[arg(long)]
        no_password: bool,
    },
    /// Signs packs, each in a file PACK.minisig beside it, as minisign would.
    Sign {
        /// The secret key; its password is that in COPATCH_KEY_PASSWORD, or asked for.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The pack files.
        #[arg(required = true)]
        packs: Vec<PathBuf>,
    },
    /// Shows what differs between two packs: header, sizes, operations and variants; exits with 1 if anything does.
    Diff {
        /// A pack file.
        old: PathBuf,
        /// Another one.
        new: PathBuf,
    },
    /// Lists the triples and feature sets that packs are made for.
    Targets,
    /// Says which compiler is here, and for which targets it can build.
    Doctor {
        #[command(flatten)]
        settings: Settings,
        /// Settings from this file; else from packer.toml, if there is one.
        #[arg(long, value_name = "FILE", env = "COPATCH_PACKER_CONFIG")]
        config: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let Arguments { format, command } = Arguments::parse();
    let (name, result) = match command {
        Command::Build {
            settings,
            config,
            keep_going,
        } => (
            "build",
            command::settings(settings, config)
                .and_then(|settings| command::build(settings, keep_going)),
        ),
        Command::Inspect { pack, op, all } => {
            ("inspect", command::inspect(&pack, op.as_deref(), all))
        }
        Command::Verify { pack, key } => ("verify", command::verify(&pack, key.as_deref())),
        Command::Keygen {
            secret,
            public,
            no_password,
        } => ("keygen", command::keygen(&secret, &public, no_password)),
        Command::Sign { key, packs } => ("sign", command::sign(&packs, &key)),
        Command::Diff { old, new } => ("diff", command::diff(&old, &new)),
        Command::Targets => ("targets", command::targets()),
        Command::Doctor { settings, config } => (
            "doctor",
            command::settings(settings, config).and_then(|settings| command::doctor(&settings)),
        ),
    };
    command::output::finish(name, format, result)
}
