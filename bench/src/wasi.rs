//! The WASI calls that the kernels make, written once over plain memory for all contenders inside this process.
//!
//! A full implementation would be another one for each engine, and its cost would be measured with the engine.
//! `contender/liftoff.mjs` has the same calls in JavaScript.

/// The module that programs import these from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// "Bad file descriptor".
const BADF: i32 = 8;
/// "Address out of bounds".
const FAULT: i32 = 21;

/// A call that a program may import.
#[derive(Clone, Copy)]
pub enum Call {
    ArgsGet,
    ArgsSizesGet,
    FdClose,
    FdFdstatGet,
    FdSeek,
    FdWrite,
    ProcExit,
}

impl Call {
    /// Every call: name, parameter types (`i` for i32, `I` for i64), whether there is a result, always an i32.
    pub const ALL: [(Call, &str, &str, bool); 7] = [
        (Call::ArgsGet, "args_get", "ii", true),
        (Call::ArgsSizesGet, "args_sizes_get", "ii", true),
        (Call::FdClose, "fd_close", "i", true),
        (Call::FdFdstatGet, "fd_fdstat_get", "ii", true),
        (Call::FdSeek, "fd_seek", "iIii", true),
        (Call::FdWrite, "fd_write", "iiii", true),
        (Call::ProcExit, "proc_exit", "i", false),
    ];
}

/// What a call comes to.
pub enum Outcome {
    /// The call returns this error number, 0 for success.
    Errno(i32),
    /// The program ends with this code.
    Exit(i32),
}

/// A program's state: what it wrote.
#[derive(Default)]
pub struct Wasi {
    /// Everything written to standard output.
    pub output: Vec<u8>,
}

/// The one argument: the program's name.
const PROGRAM: &[u8] = b"kernel\0";

impl Wasi {
    /// Serves a call. Arguments are widened to 64 bits by whatever rule; only their low half counts where they are i32.
    pub fn call(&mut self, call: Call, arguments: &[i64], memory: &mut [u8]) -> Outcome {
        let argument = |n: usize| arguments.get(n).map_or(0, |value| *value as u32);
        let done = match call {
            Call::ProcExit => return Outcome::Exit(argument(0) as i32),
            Call::ArgsGet => store(memory, argument(0), &argument(1).to_le_bytes())
                .and_then(|()| store(memory, argument(1), PROGRAM)),
            Call::ArgsSizesGet => store(memory, argument(0), &1u32.to_le_bytes())
                .and_then(|()| store(memory, argument(1), &(PROGRAM.len() as u32).to_le_bytes())),
            Call::FdClose => Some(()),
            // A character device, so that the C library buffers by line; all rights.
            Call::FdFdstatGet if argument(0) <= 2 => {
                let mut stat = [0xff; 24];
                stat[..8].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
                store(memory, argument(1), &stat)
            }
            Call::FdWrite if argument(0) == 1 => {
                self.write(memory, argument(1), argument(2), argument(3))
            }
            Call::FdFdstatGet | Call::FdSeek | Call::FdWrite => return Outcome::Errno(BADF),
        };
        Outcome::Errno(if done.is_some() { 0 } else { FAULT })
    }

    fn write(&mut self, memory: &mut [u8], vectors: u32, count: u32, written: u32) -> Option<()> {
        let mut total = 0u32;
        for n in 0..count {
            let vector = vectors.checked_add(n.checked_mul(8)?)?;
            let (at, length) = (load(memory, vector)?, load(memory, vector.checked_add(4)?)?);
            let bytes = memory.get(at as usize..)?.get(..length as usize)?;
            self.output.extend_from_slice(bytes);
            total = total.checked_add(length)?;
        }
        store(memory, written, &total.to_le_bytes())
    }
}

fn load(memory: &[u8], at: u32) -> Option<u32> {
    Some(u32::from_le_bytes(
        *memory.get(at as usize..)?.first_chunk()?,
    ))
}

fn store(memory: &mut [u8], at: u32, bytes: &[u8]) -> Option<()> {
    memory
        .get_mut(at as usize..)?
        .get_mut(..bytes.len())?
        .copy_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_gather_and_stay_in_bounds() {
        let mut wasi = Wasi::default();
        let mut memory = vec![0u8; 64];
        memory[0..16].copy_from_slice(&[32, 0, 0, 0, 2, 0, 0, 0, 40, 0, 0, 0, 3, 0, 0, 0]);
        memory[32..34].copy_from_slice(b"ab");
        memory[40..43].copy_from_slice(b"cde");
        assert!(matches!(
            wasi.call(Call::FdWrite, &[1, 0, 2, 16], &mut memory),
            Outcome::Errno(0)
        ));
        assert_eq!((wasi.output.as_slice(), memory[16]), (&b"abcde"[..], 5));
        memory[4] = 60;
        assert!(matches!(
            wasi.call(Call::FdWrite, &[1, 0, 1, 16], &mut memory),
            Outcome::Errno(FAULT)
        ));
        assert!(matches!(
            wasi.call(Call::FdWrite, &[1, i64::from(u32::MAX), 1, 0], &mut memory),
            Outcome::Errno(FAULT)
        ));
        assert!(matches!(
            wasi.call(Call::ProcExit, &[3], &mut memory),
            Outcome::Exit(3)
        ));
    }
}
