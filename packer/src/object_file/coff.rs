//! COFF. Addends stand in their fields; a distance counts from the field's end, or from as many bytes behind it as the
//! relocation's number says.

use object::pe;
use object::read::{Object, RelocationTarget};
use object::{Architecture, RelocationFlags};

use super::{Reference, Resolved, in_place, refer};

pub(super) fn resolve(reference: &Reference<'_>) -> Result<Option<Resolved>, String> {
    let Reference {
        file, relocation, ..
    } = reference;
    let (RelocationTarget::Symbol(index), RelocationFlags::Coff { typ }) =
        (relocation.target(), relocation.flags())
    else {
        return Err("it refers to no symbol".to_owned());
    };
    let behind = match (file.architecture(), typ) {
        (Architecture::X86_64, pe::IMAGE_REL_AMD64_REL32) => 0,
        (Architecture::X86_64, pe::IMAGE_REL_AMD64_REL32_1) => 1,
        (Architecture::X86_64, pe::IMAGE_REL_AMD64_REL32_2) => 2,
        (Architecture::X86_64, pe::IMAGE_REL_AMD64_REL32_3) => 3,
        (Architecture::X86_64, pe::IMAGE_REL_AMD64_REL32_4) => 4,
        (Architecture::X86_64, pe::IMAGE_REL_AMD64_REL32_5) => 5,
        (architecture, other) => {
            return Err(format!(
                "{architecture:?} COFF relocation {other:?} is not supported"
            ));
        }
    };
    let symbol = file.symbol_by_index(index).map_err(|e| e.to_string())?;
    Ok(Some(Resolved {
        symbol: refer(file, &symbol, |_| None)?,
        addend: in_place(reference)? - 4 - behind,
        window: 4,
        pc_relative: true,
        bits: None,
    }))
}
