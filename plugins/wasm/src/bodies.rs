//! Function bodies as they stand in the code section. Where each begins is read when it is compiled: to go through the whole section for
//! that first waits for memory at each of them.

use wasmparser::{BinaryReader, CodeSectionReader, FunctionBody, Validator, ValidatorResources};

use crate::error::Error;
use crate::module::FEATURES;

/// Bytes of a body, at most: `wasmparser`'s limit.
const MAX_BODY: u64 = 7_654_321;

/// A function's index and its body.
pub(crate) type Body<'a> = (u32, FunctionBody<'a>);

/// The bodies of a module, of which there is one at least.
pub(crate) struct Bodies<'a> {
    section: CodeSectionReader<'a>,
    /// The index of the first.
    first: u32,
    /// What they are validated against.
    pub resources: ValidatorResources,
}

impl<'a> Bodies<'a> {
    /// The bodies of a code section with these contents, which begin at `offset` in the module; `validator` has seen all sections
    /// before it. `None` if there are none.
    ///
    /// # Errors
    /// What cannot be read of the first.
    pub fn new(
        section: &'a [u8],
        offset: u64,
        validator: &mut Validator,
    ) -> Result<Option<Self>, Error> {
        let reader = BinaryReader::new_features(section, offset, FEATURES);
        let section = CodeSectionReader::new(reader)?;
        let Some(first) = section.clone().into_iter().next() else {
            return Ok(None);
        };
        let first = validator.code_section_entry(&first?)?;
        Ok(Some(Self {
            section,
            first: first.index,
            resources: first.resources,
        }))
    }

    /// Where they begin in the module.
    pub fn offset(&self) -> u64 {
        self.section.original_position()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        u64::from(self.section.count())
    }

    /// All in order, and what cannot be read of them.
    pub fn iter(&self) -> impl Iterator<Item = Result<Body<'a>, Error>> + use<'a> {
        let bodies = (self.first..).zip(self.section.clone());
        bodies.map(|(index, body)| {
            let body = body?;
            let range = body.range();
            let size = range.end - range.start;
            if size > MAX_BODY {
                let what = format!("a function of {size} bytes, more than {MAX_BODY}");
                return Err(Error::Limit {
                    what,
                    offset: range.start,
                });
            }
            Ok((index, body))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Engine, Module};

    /// A module that was cut or changed in its code section is taken exactly if `wasmparser` takes it.
    #[test]
    fn changed_sections_are_judged_as_by_wasmparser() {
        let text = r#"(module (memory 1)
            (func (local i32)) (func (result i32) i32.const 5) (func (drop (i32.const 300)))
            (data (i32.const 0) "x"))"#;
        let module = wat::parse_str(text).expect("a module");
        let begins = |bytes: &[u8]| bytes == [10, 18, 3];
        let code = module.windows(3).position(begins);
        let code = code.expect("a code section");
        let engine = Engine::default();
        let mut accepted = 0;
        let mut check = |module: &[u8]| {
            let expected = Module::validate(&engine, module).is_ok();
            let found = Module::new(&engine, module);
            assert_eq!(found.is_ok(), expected, "{module:x?}: {:?}", found.err());
            accepted += u32::from(expected);
        };
        for at in code..module.len() {
            check(&module[..at]);
            for byte in 0..=255 {
                let mut changed = module.clone();
                changed[at] = byte;
                check(&changed);
            }
        }
        // Without functions, and perhaps with something behind them.
        for section in [&[10, 1, 0][..], &[10, 2, 0, 0], &[10, 0]] {
            check(&[b"\0asm\x01\0\0\0", section].concat());
        }
        assert!(accepted > 500, "{accepted}");
    }
}
