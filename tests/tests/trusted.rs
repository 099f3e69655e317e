//! Who may bring machine code into this process: holders of trusted keys, with packs of the right instruction set, and no
//! byte of them changed.

mod common;

use std::path::{Path, PathBuf};

use common::open;
use copatch::spec::InstructionSet;
use copatch::spec::pack::tables::SectionKind;
use copatch::{Error, Pack, PackFolder, TrustedKeys};
use copatch_conformance::edit::{edited, sections};
use minisign::KeyPair;

/// Bytes of header and section table.
const FRAME: usize = 56 + 12 * 56;

/// A pack with little in it, but something in every section: what is tried on each of its bytes takes seconds.
fn small() -> Vec<u8> {
    let (_, bytes) = copatch_pack_toy::packs()[0];
    let kept = ["i64.add", "i64.lt_s", "f64.neg", "f64.abs", "core.jump"];
    let small = edited(bytes, |writer, metadata| {
        let name = |op: u16| metadata.ops[usize::from(op)].name.as_str();
        writer.forms.retain(|form| kept.contains(&name(form.op)));
        for (op, evaluator) in writer.evaluators.iter_mut().enumerate() {
            evaluator.take_if(|_| !kept.contains(&name(op as u16)));
        }
        // Some machines need no constant for a float's sign.
        if writer.pool.is_empty() {
            writer.pool = vec![0x55; 16];
        }
    });
    let small = small.unwrap();
    assert!(sections(&small).iter().all(|section| !section.is_empty()));
    small
}

struct Signed {
    bytes: Vec<u8>,
    signature: String,
    keys: TrustedKeys,
}

fn sign(bytes: Vec<u8>) -> Signed {
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let signature = minisign::sign(None, &pair.sk, bytes.as_slice(), None, None).unwrap();
    Signed {
        bytes,
        signature: signature.into_string(),
        keys: TrustedKeys::parse(&pair.pk.to_base64()).unwrap(),
    }
}

impl Signed {
    fn open(&self) -> copatch::Result<std::sync::Arc<Pack>> {
        Pack::from_signed("x.pack", self.bytes.clone(), &self.signature, &self.keys)
    }
}

fn untrusted(result: copatch::Result<std::sync::Arc<Pack>>) -> String {
    match result {
        Err(Error::Untrusted { name, what }) => {
            assert!(!name.is_empty());
            what
        }
        other => panic!("{:?}", other.map(|_| "opened")),
    }
}

/// What a byte is changed by: its lowest bit, its highest, and all.
const MASKS: [u8; 3] = [0x01, 0x80, 0xff];

/// Changes the bytes at `places`, one at a time, by each of `masks`, and expects each change to be refused; on all processors.
fn all_refused(
    bytes: &[u8],
    places: impl Iterator<Item = usize>,
    masks: impl Iterator<Item = u8> + Clone + Send,
    is_refused: impl Fn(&[u8]) -> bool + Sync,
) {
    let places: Vec<usize> = places.collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tried: usize = std::thread::scope(|scope| {
        let shares = places.chunks(places.len().div_ceil(threads));
        let shares = shares.map(|share| {
            let (masks, is_refused) = (masks.clone(), &is_refused);
            scope.spawn(move || {
                let mut changed = bytes.to_vec();
                let mut tried = 0;
                for &at in share {
                    for mask in masks.clone() {
                        changed[at] ^= mask;
                        assert!(is_refused(&changed), "byte {at:#x} changed by {mask:#x}");
                        changed[at] ^= mask;
                        tried += 1;
                    }
                }
                tried
            })
        });
        let shares: Vec<_> = shares.collect();
        shares.into_iter().map(|share| share.join().unwrap()).sum()
    });
    println!(
        "{tried} changes of {} of {} bytes",
        places.len(),
        bytes.len()
    );
}

fn is_refused(bytes: &[u8]) -> bool {
    open("changed.pack", bytes.to_vec()).is_err()
}

#[test]
fn every_value_of_every_byte_of_header_and_section_table_is_told_by_digests() {
    let bytes = small();
    assert!(!is_refused(&bytes));
    all_refused(&bytes, 0..FRAME, 1..=255, is_refused);
}

#[test]
fn every_changed_byte_is_told_by_digests() {
    let bytes = small();
    all_refused(&bytes, 0..bytes.len(), MASKS.into_iter(), is_refused);
}

/// By the signature alone: it is looked at first.
#[test]
fn every_changed_byte_of_header_and_tables_is_told_by_a_signature() {
    let signed = sign(small());
    assert!(signed.open().is_ok());
    let sections = SectionKind::ALL.iter().zip(sections(&signed.bytes));
    let code =
        sections.filter(|(kind, _)| matches!(kind, SectionKind::Code | SectionKind::EvaluatorCode));
    let code: Vec<_> = code.map(|(_, range)| range).collect();
    let is_code = |at: &usize| code.iter().any(|range| range.contains(at));
    let places = (0..signed.bytes.len()).filter(|at| !is_code(at) || at % 31 == 0);
    let is_refused = |bytes: &[u8]| {
        let opened = Pack::from_signed("x.pack", bytes.to_vec(), &signed.signature, &signed.keys);
        untrusted(opened) == "its signature is not one of these bytes"
    };
    all_refused(&signed.bytes, places, [0x01].into_iter(), is_refused);
}

/// Every byte of a committed pack, by digests.
#[test]
#[ignore = "minutes: one and a half million packs are opened; run it in release"]
fn every_changed_byte_of_a_committed_pack_is_told() {
    let (_, bytes) = copatch_pack_toy::packs()[0];
    all_refused(bytes, 0..bytes.len(), MASKS.into_iter(), is_refused);
}

#[test]
fn header_and_section_table_of_every_committed_pack() {
    for (_, bytes) in common::packs() {
        all_refused(bytes, 0..FRAME, MASKS.into_iter(), is_refused);
    }
}

/// But for the comment that nobody vouches for.
#[test]
fn every_changed_byte_of_a_signature_is_told() {
    let mut signed = sign(small());
    let text = signed.signature.clone();
    let first = text.find('\n').unwrap();
    for at in first..text.trim_end().len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        signed.signature = String::from_utf8(bytes).unwrap();
        assert!(signed.open().is_err(), "byte {at} of\n{text}");
    }
}

#[test]
fn other_keys_and_no_signature_are_told_apart() {
    let mut signed = sign(small());
    let other = sign(small());
    let both = TrustedKeys::parse(&format!("{}{}", other.keys, signed.keys)).unwrap();
    signed.keys = other.keys;
    let what = untrusted(signed.open());
    assert_eq!(what, "it is signed with a key that is not trusted");
    signed.keys = both;
    assert!(signed.open().is_ok());
    signed.signature.clear();
    assert!(untrusted(signed.open()).contains("damaged"));
    for text in ["", "untrusted comment: none\n", "RWQf6LRCGA9i53ml"] {
        assert!(TrustedKeys::parse(text).is_err(), "{text:?}");
    }
}

/// A folder with the host's toy pack as it is, its signature, and its key.
struct Folder {
    folder: tempfile::TempDir,
    keys: TrustedKeys,
    pack: PathBuf,
}

fn folder(bytes: Vec<u8>) -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("toy/{}.pack", copatch::host_triple());
    let pack = folder.path().join(name);
    let signed = sign(bytes);
    std::fs::create_dir(folder.path().join("toy")).unwrap();
    std::fs::write(&pack, &signed.bytes).unwrap();
    std::fs::write(pack.with_extension("pack.minisig"), signed.signature).unwrap();
    Folder {
        folder,
        keys: signed.keys,
        pack,
    }
}

/// The baseline's, which every processor of its architecture runs.
fn baseline() -> Vec<u8> {
    let mut packs = copatch_pack_toy::packs().iter();
    let (_, bytes) = packs.find(|(name, _)| !name.contains('+')).unwrap();
    bytes.to_vec()
}

fn digest() -> [u8; 32] {
    InstructionSet::builtin_digest("toy").unwrap()
}

#[test]
fn a_folder_gives_what_is_signed() {
    let Folder { folder, keys, pack } = folder(baseline());
    let packs = PackFolder::signed(folder.path(), keys);
    let opened = Pack::for_host_in(&packs, "toy", digest()).unwrap();
    assert_eq!(opened.metadata().isa, "toy");
    let signature = pack.with_extension("pack.minisig");
    std::fs::remove_file(&signature).unwrap();
    let what = untrusted(Pack::for_host_in(&packs, "toy", digest()));
    assert!(what.contains(signature.to_str().unwrap()), "{what}");
}

#[test]
fn another_version_of_the_instruction_set_is_named() {
    let changed = edited(&baseline(), |_, metadata| metadata.isa_digest[0] ^= 1).unwrap();
    let Folder { folder, keys, pack } = folder(changed);
    let packs = PackFolder::signed(folder.path(), keys);
    let told = Pack::for_host_in(&packs, "toy", digest()).unwrap_err();
    let told = told.to_string();
    assert!(
        told.starts_with(&format!("{}: built for another version", pack.display())),
        "{told}"
    );
    assert!(told.contains("of the instruction set toy"), "{told}");
}

/// The committed packs are those of the instruction sets in this tree.
#[test]
fn committed_packs_have_the_digest_of_their_instruction_set() {
    for (name, bytes) in common::packs() {
        let (_, metadata) = copatch::spec::pack::validate(bytes).unwrap();
        let digest = InstructionSet::builtin_digest(&metadata.isa);
        assert_eq!(Some(metadata.isa_digest), digest, "{name} is to be rebuilt");
    }
}

#[test]
fn a_pack_for_another_instruction_set_is_named() {
    let Folder { folder, keys, .. } = folder(baseline());
    let toy: &Path = &folder.path().join("toy");
    std::fs::rename(toy, folder.path().join("other")).unwrap();
    let packs = PackFolder::signed(folder.path(), keys);
    let told = Pack::for_host_in(&packs, "other", digest()).unwrap_err();
    assert!(
        told.to_string()
            .contains("for instruction set toy, not other")
    );
}
