//! Packs from a folder: whom they must be signed by, as the command line is told.

#[path = "../../plugins/wasm/tests/common/program.rs"]
mod program;

use std::path::Path;

use minisign::KeyPair;
use program::program;

const MODULE: &str = r#"(module (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))"#;

struct Case {
    folder: tempfile::TempDir,
    key: String,
}

/// A module, and the committed packs of WebAssembly, signed.
fn case() -> Case {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("m.wasm"), wat::parse_str(MODULE).unwrap()).unwrap();
    std::fs::create_dir_all(at("packs/wasm")).unwrap();
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    for (name, bytes) in copatch_pack_wasm::packs() {
        let pack = at("packs/wasm").join(name);
        std::fs::write(&pack, bytes).unwrap();
        let signature = minisign::sign(None, &pair.sk, *bytes, None, None).unwrap();
        std::fs::write(pack.with_extension("pack.minisig"), signature.into_string()).unwrap();
    }
    let public = pair.pk.to_box().unwrap().into_string();
    std::fs::write(at("trusted.pub"), public).unwrap();
    Case {
        key: pair.pk.to_base64(),
        folder,
    }
}

impl Case {
    /// Adds 40 and 2 with packs from the folder: exit code and what is said.
    fn run(&self, options: &[&str]) -> (Option<i32>, String) {
        let mut command = program(env!("CARGO_BIN_EXE_copatch"));
        command.current_dir(self.folder.path());
        command.args(["run", "--packs", "packs"]).args(options);
        command.args(["--invoke", "add", "m.wasm", "40", "2"]);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    fn remove_signatures(&self) {
        for (name, _) in copatch_pack_wasm::packs() {
            let path = Path::new("packs/wasm").join(format!("{name}.minisig"));
            std::fs::remove_file(self.folder.path().join(path)).unwrap();
        }
    }
}

#[test]
fn packs_need_a_key_or_the_users_word() {
    let case = case();
    let done = (Some(0), "42\n".to_owned());
    let (code, told) = case.run(&[]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("--trust") && told.contains("--unsigned"),
        "{told}"
    );
    assert_eq!(case.run(&["--trust", "trusted.pub"]), done);
    assert_eq!(case.run(&["--trust", &case.key]), done);
    let stranger = KeyPair::generate_unencrypted_keypair()
        .unwrap()
        .pk
        .to_base64();
    let (code, told) = case.run(&["--trust", &stranger]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("not trusted: it is signed with a key"),
        "{told}"
    );
    assert_eq!(
        case.run(&["--trust", &stranger, "--trust", &case.key]),
        done
    );
    case.remove_signatures();
    let (code, told) = case.run(&["--trust", "trusted.pub"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("it is not signed"), "{told}");
    assert_eq!(case.run(&["--unsigned"]), done);
    let (code, told) = case.run(&["--trust", "no key"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("no key"), "{told}");
}
