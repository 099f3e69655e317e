//! What instructions on memories, tables and segments do, as helpers call it and instantiation does.

use crate::error::{Error, Result, TrapCode};
use crate::module::{Arithmetic, Init, Step};
use crate::opaque::{Failure, Opaque};

use copatch::ValueType;

/// The i32 in a slot.
fn low(word: u64) -> u64 {
    u64::from(word as u32)
}

impl Opaque {
    fn memory_id(&self, instance: u32) -> Result<usize, Failure> {
        let id = self.instances[instance as usize].memory;
        Ok(id.ok_or(TrapCode::MemoryOutOfBounds)? as usize)
    }

    fn table_id(&self, instance: u32, table: u64) -> Result<usize, Failure> {
        let tables = &self.instances[instance as usize].tables;
        let id = tables.get(table as u32 as usize).copied();
        Ok(id.ok_or(TrapCode::TableOutOfBounds)? as usize)
    }

    /// `memory.fill` of `[to, byte, length]`.
    pub(crate) fn memory_fill(
        &mut self,
        instance: u32,
        [to, byte, len]: [u64; 3],
    ) -> Result<(), Failure> {
        let id = self.memory_id(instance)?;
        let memory = &mut self.memories[id].memory;
        let range = memory.range(low(to), low(len));
        let range = range.ok_or(TrapCode::MemoryOutOfBounds)?;
        memory.bytes_mut()[range].fill(byte as u8);
        Ok(())
    }

    /// `memory.copy` of `[to, from, length]`.
    pub(crate) fn memory_copy(
        &mut self,
        instance: u32,
        [to, from, len]: [u64; 3],
    ) -> Result<(), Failure> {
        let id = self.memory_id(instance)?;
        let memory = &mut self.memories[id].memory;
        let out = TrapCode::MemoryOutOfBounds;
        let target = memory.range(low(to), low(len)).ok_or(out)?;
        let source = memory.range(low(from), low(len)).ok_or(out)?;
        memory.bytes_mut().copy_within(source, target.start);
        Ok(())
    }

    /// `memory.init` of `[to, from, length, segment]`.
    pub(crate) fn memory_init(
        &mut self,
        instance: u32,
        [to, from, len, segment]: [u64; 4],
    ) -> Result<(), Failure> {
        let id = self.memory_id(instance)?;
        let data = &self.instances[instance as usize];
        let segment = segment as u32;
        let bytes = match data.module.description().data.get(segment) {
            Some((_, bytes)) if !data.dropped_data[segment as usize] => bytes,
            _ => &[],
        };
        let (from, len) = (low(from) as usize, low(len) as usize);
        let source = bytes
            .get(from..from + len)
            .ok_or(TrapCode::MemoryOutOfBounds)?;
        Ok(self.memories[id].memory.put(low(to), source)?)
    }

    /// What an active segment does when its module is instantiated.
    pub(crate) fn place_data(
        &mut self,
        instance: u32,
        to: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let id = self.memory_id(instance)?;
        Ok(self.memories[id].memory.put(low(to), bytes)?)
    }

    /// `data.drop`.
    pub(crate) fn data_drop(&mut self, instance: u32, [segment]: [u64; 1]) -> Result<(), Failure> {
        let dropped = &mut self.instances[instance as usize].dropped_data;
        if let Some(dropped) = dropped.get_mut(segment as u32 as usize) {
            *dropped = true;
        }
        Ok(())
    }

    /// `table.init` of `[to, from, length, segment, table]`.
    pub(crate) fn table_init(
        &mut self,
        instance: u32,
        [to, from, len, segment, table]: [u64; 5],
    ) -> Result<(), Failure> {
        let id = self.table_id(instance, table)?;
        let data = &self.instances[instance as usize];
        let module = data.module.clone();
        let segment = segment as u32 as usize;
        let items: &[Init] = match module.description().elements.get(segment) {
            Some(elements) if !data.dropped_elements[segment] => &elements.items,
            _ => &[],
        };
        let (to, from, len) = (low(to), low(from) as usize, low(len));
        let source = items
            .get(from..from + len as usize)
            .ok_or(TrapCode::TableOutOfBounds)?;
        self.tables[id]
            .range(to, len)
            .ok_or(TrapCode::TableOutOfBounds)?;
        for (at, item) in (to as usize..).zip(source) {
            let word = self.evaluate(instance, item)?[0];
            let entry = self.entry(id, word)?;
            self.tables[id].entries_mut()[at] = entry;
        }
        Ok(())
    }

    /// `table.copy` of `[to, from, length, table to, table from]`.
    pub(crate) fn table_copy(
        &mut self,
        instance: u32,
        [to, from, len, into, out_of]: [u64; 5],
    ) -> Result<(), Failure> {
        let (into, out_of) = (
            self.table_id(instance, into)?,
            self.table_id(instance, out_of)?,
        );
        let (to, from, len) = (low(to), low(from), low(len));
        let out = TrapCode::TableOutOfBounds;
        if into == out_of {
            return Ok(self.tables[into].copy_within(to, from, len).ok_or(out)?);
        }
        self.tables[into].range(to, len).ok_or(out)?;
        let words: Vec<u64> = {
            let source = self.tables[out_of].range(from, len).ok_or(out)?;
            source.iter().map(|entry| entry.object).collect()
        };
        for (at, word) in (to as usize..).zip(words) {
            let entry = self.entry(into, word)?;
            self.tables[into].entries_mut()[at] = entry;
        }
        Ok(())
    }

    /// `elem.drop`.
    pub(crate) fn elem_drop(&mut self, instance: u32, [segment]: [u64; 1]) -> Result<(), Failure> {
        let dropped = &mut self.instances[instance as usize].dropped_elements;
        if let Some(dropped) = dropped.get_mut(segment as u32 as usize) {
            *dropped = true;
        }
        Ok(())
    }

    /// `table.set` of `[index, reference, table]`.
    pub(crate) fn table_set(
        &mut self,
        instance: u32,
        [index, word, table]: [u64; 3],
    ) -> Result<(), Failure> {
        self.table_fill(instance, [index, word, 1, table])
    }

    /// `table.fill` of `[to, reference, length, table]`.
    pub(crate) fn table_fill(
        &mut self,
        instance: u32,
        [to, word, len, table]: [u64; 4],
    ) -> Result<(), Failure> {
        let id = self.table_id(instance, table)?;
        let entry = self.entry(id, word)?;
        self.tables[id]
            .range_mut(low(to), low(len))
            .ok_or(TrapCode::TableOutOfBounds)?
            .fill(entry);
        Ok(())
    }

    /// `ref.func`: the reference.
    pub(crate) fn ref_func(&mut self, instance: u32, [function]: [u64; 1]) -> Result<u64, Failure> {
        let id = self.instance_function(instance, function as u32)?;
        Ok(self.records.get(id as usize).word())
    }

    /// The value of a constant expression, as a global holds it.
    pub(crate) fn evaluate(&mut self, instance: u32, init: &Init) -> Result<[u64; 2]> {
        Ok(match init {
            Init::Value(bits) => [*bits, 0],
            Init::Vector(bits) => *bits,
            Init::Null => [0, 0],
            Init::Global(global) => {
                let id = self.instance_global(instance, *global);
                self.globals[id as usize].get()
            }
            Init::Function(function) => {
                let id = self.instance_function(instance, *function)?;
                [self.records.get(id as usize).word(), 0]
            }
            Init::Steps(steps) => self.steps(instance, steps)?,
        })
    }

    fn steps(&mut self, instance: u32, steps: &[Step]) -> Result<[u64; 2]> {
        let short = || crate::opaque::internal("a constant expression is too short".to_owned());
        let mut stack: Vec<[u64; 2]> = Vec::new();
        for step in steps {
            let value = match step {
                Step::Push(init) => self.evaluate(instance, init)?,
                Step::Compute(ty, operation) => {
                    let (Some([b, _]), Some([a, _])) = (stack.pop(), stack.pop()) else {
                        return Err(short());
                    };
                    let result = match operation {
                        Arithmetic::Add => a.wrapping_add(b),
                        Arithmetic::Sub => a.wrapping_sub(b),
                        Arithmetic::Mul => a.wrapping_mul(b),
                    };
                    match ty {
                        ValueType::I32 => [low(result), 0],
                        _ => [result, 0],
                    }
                }
            };
            stack.push(value);
        }
        stack.pop().ok_or_else(short)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Trap(code) => code.into(),
            Failure::Error(error) => error,
        }
    }
}
