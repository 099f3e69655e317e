//! Keys and signatures: ours in minisign's program and minisign's in ours. Where the program is not installed, this says so.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A folder with a copy of a committed pack.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let pack = "packs/toy/x86_64-unknown-linux-gnu.pack";
        let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(pack);
        std::fs::copy(pack, folder.path().join("toy.pack"))?;
        Ok(Self { folder })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the packer, and gives its exit code and what it says.
    fn packer(&self, line: &str, password: Option<&str>) -> Result<(Option<i32>, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_copatch-packer"));
        command
            .current_dir(self.folder.path())
            .args(line.split(' '));
        command.env_remove("COPATCH_KEY_PASSWORD");
        command.envs(password.map(|password| ("COPATCH_KEY_PASSWORD", password)));
        let Output {
            status,
            stdout,
            stderr,
        } = command.output()?;
        let text = [stdout, stderr].concat();
        Ok((status.code(), String::from_utf8(text)?))
    }

    fn ok(&self, line: &str, password: Option<&str>) -> Result<String> {
        let (code, told) = self.packer(line, password)?;
        assert_eq!(code, Some(0), "{line}: {told}");
        Ok(told)
    }

    /// Runs minisign; `None` where there is none.
    fn minisign(&self, line: &str) -> Result<Option<bool>> {
        let mut command = Command::new("minisign");
        command
            .current_dir(self.folder.path())
            .args(line.split(' '));
        match command.output() {
            Ok(output) => Ok(Some(output.status.success())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("passed over: minisign is not installed");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

const KEYGEN: &str = "keygen --secret s.key --public p.pub --no-password";

#[test]
fn a_signed_pack_is_accepted_and_nothing_else() -> Result {
    let case = Case::new()?;
    case.ok(KEYGEN, None)?;
    let told = case.ok("sign --key s.key toy.pack", None)?;
    assert_eq!(told, "toy.pack.minisig\n");
    let told = case.ok("verify toy.pack --key p.pub", None)?;
    let comment = "toy.pack: signed: stencil pack of toy 1 for x86_64-unknown-linux-gnu\n";
    assert!(told.ends_with(comment), "{told}");

    let (code, told) = {
        case.ok("keygen --secret s2.key --public p2.pub --no-password", None)?;
        case.packer("verify toy.pack --key p2.pub", None)?
    };
    assert_eq!(code, Some(1), "{told}");
    // What the signature says of the pack is signed, too.
    let signature = std::fs::read_to_string(case.at("toy.pack.minisig"))?;
    let forged = signature.replace("pack of toy 1", "pack of toy 2");
    assert_ne!(signature, forged);
    std::fs::write(case.at("toy.pack.minisig"), forged)?;
    let (code, told) = case.packer("verify toy.pack --key p.pub", None)?;
    assert_eq!(code, Some(1), "{told}");
    std::fs::remove_file(case.at("toy.pack.minisig"))?;
    let (code, told) = case.packer("verify toy.pack --key p.pub", None)?;
    assert_eq!(code, Some(1));
    assert!(told.contains("toy.pack.minisig"), "{told}");
    Ok(())
}

#[test]
fn what_we_sign_minisign_accepts() -> Result {
    let case = Case::new()?;
    case.ok(KEYGEN, None)?;
    case.ok("sign --key s.key toy.pack", None)?;
    let Some(accepted) = case.minisign("-Vm toy.pack -p p.pub")? else {
        return Ok(());
    };
    assert!(accepted);
    let mut bytes = std::fs::read(case.at("toy.pack"))?;
    *bytes.last_mut().ok_or("an empty pack")? ^= 1;
    std::fs::write(case.at("toy.pack"), bytes)?;
    assert_eq!(case.minisign("-Vm toy.pack -p p.pub")?, Some(false));
    Ok(())
}

#[test]
fn what_minisign_signs_we_accept() -> Result {
    let case = Case::new()?;
    let Some(made) = case.minisign("-G -W -s theirs.key -p theirs.pub")? else {
        return Ok(());
    };
    assert!(made);
    assert_eq!(case.minisign("-S -s theirs.key -m toy.pack")?, Some(true));
    case.ok("verify toy.pack --key theirs.pub", None)?;
    // Ours signs in their program.
    case.ok(KEYGEN, None)?;
    assert_eq!(case.minisign("-S -s s.key -m toy.pack")?, Some(true));
    case.ok("verify toy.pack --key p.pub", None)?;
    Ok(())
}

#[test]
fn a_password_protects_the_secret_key() -> Result {
    let case = Case::new()?;
    let line = "keygen --secret s.key --public p.pub";
    // Nothing is asked where nobody may be there to answer.
    assert_eq!(case.packer(line, None)?.0, Some(2));
    case.ok(line, Some("swordfish"))?;
    let (code, told) = case.packer("sign --key s.key toy.pack", Some("haddock"))?;
    assert_eq!(code, Some(1));
    assert!(
        told.contains("password") && !case.at("toy.pack.minisig").exists(),
        "{told}"
    );
    case.ok("sign --key s.key toy.pack", Some("swordfish"))?;
    case.ok("verify toy.pack --key p.pub", None)?;
    Ok(())
}

#[test]
fn a_key_is_not_overwritten_and_not_shown_to_others() -> Result {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new()?;
    case.ok(KEYGEN, None)?;
    let key = std::fs::read(case.at("s.key"))?;
    assert_eq!(case.packer(KEYGEN, None)?.0, Some(1));
    assert_eq!(std::fs::read(case.at("s.key"))?, key);
    let mode = std::fs::metadata(case.at("s.key"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Ok(())
}

#[test]
fn a_damaged_pack_is_not_signed() -> Result {
    let case = Case::new()?;
    case.ok(KEYGEN, None)?;
    let mut bytes = std::fs::read(case.at("toy.pack"))?;
    *bytes.last_mut().ok_or("an empty pack")? ^= 1;
    std::fs::write(case.at("toy.pack"), bytes)?;
    let (code, told) = case.packer("sign --key s.key toy.pack", None)?;
    assert_eq!(code, Some(1));
    assert!(
        told.contains("digest") && !case.at("toy.pack.minisig").exists(),
        "{told}"
    );
    Ok(())
}

#[test]
fn keys_that_are_not_made_leave_nothing() -> Result {
    let case = Case::new()?;
    let (code, told) = case.packer("keygen --secret one.key --public one.pub", Some(""))?;
    assert_eq!(code, Some(2), "{told}");
    std::fs::write(case.at("one.pub"), "")?;
    let (code, told) = case.packer("keygen --secret one.key --public one.pub", Some("word"))?;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("one.pub"), "{told}");
    assert!(!case.at("one.key").exists());
    Ok(())
}
