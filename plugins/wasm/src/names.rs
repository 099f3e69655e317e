//! Names of functions, read when something has to be reported.

use std::collections::HashMap;

use wasmparser::{BinaryReader, Name, NameSectionReader};

use crate::module::{Description, Item};

/// Function names from the name section; where it has none, or is damaged, from exports.
pub(crate) fn functions(description: &Description) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for (name, export) in &description.exports {
        if let Item::Function(index) = export {
            names.entry(*index).or_insert_with(|| name.clone());
        }
    }
    // A name section is not part of a module's meaning: what cannot be read is left out.
    let section = NameSectionReader::new(BinaryReader::new(&description.names, 0));
    for subsection in section.into_iter().map_while(Result::ok) {
        if let Name::Function(map) = subsection {
            for naming in map.into_iter().map_while(Result::ok) {
                names.insert(naming.index, naming.name.to_owned());
            }
        }
    }
    names
}
