//! The pre-scan: one linear look at a function's bytes before code is generated, which fills the engine's plan.
//!
//! It decodes only as much as it takes to find locals, calls and structure, a few nanoseconds an operation. It does not
//! validate: at anything it does not know it stops, and the generating visit, which does validate, will refuse that
//! function or generate it without a plan.

use copatch::Planner;

use crate::cursor::Cursor;
use crate::opcodes::{BR_TABLE, CALL, Kind, LOCAL_GET, LOCAL_TEE, Table};
use crate::validate::{Check, invalid};
use crate::visit::narrow_sum;

/// What one scan found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Whether the scan came to the end of the function: else its plan must not be used.
    pub complete: bool,
    /// Whether a memory access has an offset of [`FAR`] or more.
    pub far: bool,
    /// Whether the rest of the function was left out, so that it may have accesses with such offsets, too.
    pub sampled: bool,
}

/// Offsets from here on are no immediates: they do not fit beside a 32-bit address into the reserved range of a linear memory, and
/// riscv64 makes them of two numbers, of which the lower one is signed.
pub(crate) const FAR: u32 = (1 << 31) - 0x800;

/// Work that the planner may have with loops inside each other for each byte of the function, and in any; beyond that there is
/// no plan. Functions written by compilers are far from it.
const WORK: usize = 4;
const LEAST_WORK: usize = 1 << 14;
/// How many bytes of a resumable loop are looked at. What is left out then are its uses of variables, of which it is enough to know
/// the most frequent.
const SAMPLE: usize = 128;
/// With this many bytes left, those that the short paths look at are there.
const FEW: usize = 8;

/// Scans the instructions from `cursor` on of a function of `vars` variables. With `sample`, a look at the beginning of a resumable
/// loop is enough.
#[inline(never)]
pub(crate) fn scan(
    table: &Table,
    cursor: Cursor<'_>,
    vars: usize,
    sample: bool,
    planner: &mut Planner,
) -> Scan {
    planner.begin(vars);
    let mut scanner = Scanner {
        table,
        cursor,
        work: LEAST_WORK.saturating_add(cursor.rest().len().saturating_mul(WORK)),
        sample,
        scan: Scan::default(),
    };
    let ended = loop {
        if scanner.cursor.rest().len() < FEW {
            break None;
        }
        match scanner.step(planner) {
            Ok(false) => {}
            ended => break Some(ended),
        }
    };
    let (ended, mut scanner) = match ended {
        Some(ended) => (ended, scanner),
        None => scanner.last(planner),
    };
    scanner.scan.complete = matches!(ended, Ok(true)) && scanner.cursor.rest().is_empty();
    if scanner.scan.sampled {
        // The sample is found once more: to bring it here would cost the loop above a register.
        let body = scanner.cursor;
        estimate(sample_of(body.rest()).unwrap_or_default(), planner);
        planner.cut(body.offset());
        scanner.scan.complete = true;
    }
    scanner.scan
}

struct Scanner<'a> {
    table: &'a Table,
    cursor: Cursor<'a>,
    /// The most that the planner may have.
    work: usize,
    sample: bool,
    scan: Scan,
}

impl Scanner<'_> {
    /// The instructions near the end of the body.
    #[inline(never)]
    fn last(mut self, planner: &mut Planner) -> (Check<bool>, Self) {
        loop {
            match self.step(planner) {
                Ok(false) => {}
                ended => return (ended, self),
            }
        }
    }

    /// Stops where loops inside each other would take longer than the rest.
    #[inline]
    fn afford(&self, planner: &Planner) -> Check {
        if planner.work() > self.work {
            return Err(invalid("too many variables in loops inside each other"));
        }
        Ok(())
    }

    /// One instruction; gives whether the scan ends with it.
    #[inline(always)]
    fn step(&mut self, planner: &mut Planner) -> Check<bool> {
        let table = self.table;
        let cursor = &mut self.cursor;
        let Some(opcode) = cursor.rest().first() else {
            return Err(invalid("unexpected end"));
        };
        let kind = table.kinds[usize::from(*opcode)];
        match kind {
            Kind::LocalGet => {
                let pos = cursor.offset();
                cursor.skip();
                planner.get(pos, cursor.u32()?);
            }
            Kind::LocalSet => {
                let pos = cursor.offset();
                cursor.skip();
                planner.set(pos, cursor.u32()?);
            }
            Kind::LocalTee => {
                let pos = cursor.offset();
                cursor.skip();
                planner.tee(pos, cursor.u32()?);
            }
            Kind::Unary | Kind::Binary | Kind::Not => cursor.skip(),
            Kind::Widen => {
                cursor.skip();
                narrow_sum(cursor, Cursor::skip_integer);
            }
            Kind::I32Const | Kind::I64Const | Kind::GlobalGet | Kind::GlobalSet => {
                cursor.skip();
                cursor.skip_integer()?;
            }
            Kind::Br | Kind::BrIf => {
                cursor.skip();
                cursor.skip_integer()?;
            }
            Kind::Load | Kind::Store => {
                cursor.skip();
                if !cursor.skip_short_pair() {
                    cursor.skip_integer()?;
                    self.scan.far |= cursor.u32()? >= FAR;
                }
            }
            Kind::End => {
                let pos = cursor.offset();
                cursor.skip();
                if !planner.end(pos) {
                    return Ok(true);
                }
                self.afford(planner)?;
            }
            Kind::Block => {
                let pos = cursor.offset();
                match cursor.skip_blocks() {
                    0 => {
                        cursor.skip();
                        cursor.skip_integer()?;
                        planner.block(pos);
                    }
                    1 => planner.block(pos),
                    count => planner.blocks(pos, count),
                }
            }
            Kind::If => {
                let pos = cursor.offset();
                cursor.skip();
                cursor.skip_integer()?;
                planner.if_(pos);
            }
            Kind::Loop => {
                let pos = cursor.offset();
                cursor.skip();
                cursor.skip_integer()?;
                planner.loop_(pos);
                if self.sample && sample_of(cursor.rest()).is_some() {
                    self.scan.sampled = true;
                    return Ok(true);
                }
                self.afford(planner)?;
            }
            Kind::Call => {
                let pos = cursor.offset();
                cursor.skip();
                cursor.skip_integer()?;
                planner.call(pos);
            }
            Kind::Else => {
                let pos = cursor.offset();
                cursor.skip();
                planner.else_(pos);
            }
            Kind::Return | Kind::Drop | Kind::Select | Kind::Nop => cursor.skip(),
            // All named, so that the jump needs no check.
            Kind::Illegal
            | Kind::Ternary
            | Kind::MemoryLane
            | Kind::Lane
            | Kind::Shuffle
            | Kind::V128Const
            | Kind::PrefixFc
            | Kind::PrefixFd
            | Kind::Unreachable
            | Kind::BrTable
            | Kind::CallIndirect
            | Kind::ReturnCall
            | Kind::ReturnCallIndirect
            | Kind::SelectTyped
            | Kind::TableGet
            | Kind::TableSet
            | Kind::MemorySize
            | Kind::MemoryGrow
            | Kind::F32Const
            | Kind::F64Const
            | Kind::RefNull
            | Kind::RefIsNull
            | Kind::RefFunc
            | Kind::MemoryInit
            | Kind::DataDrop
            | Kind::MemoryCopy
            | Kind::MemoryFill
            | Kind::TableInit
            | Kind::ElemDrop
            | Kind::TableCopy
            | Kind::TableGrow
            | Kind::TableSize
            | Kind::TableFill => {
                let (rest, end) = cursor.parts();
                let (rest, far) = rare(table, rest, end, planner)?;
                cursor.go_on(rest);
                self.scan.far |= far;
            }
        }
        Ok(false)
    }
}

/// What to look at of a loop's body, if there is much more and it begins with nothing but blocks and a table of branches on a variable, as
/// Go's compiler begins a function that can be left and entered again at each call, and others a program of states. Whatever is used in
/// such a loop may be read as long as it runs.
#[inline(never)]
fn sample_of(body: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(body, 0);
    if cursor.skip_blocks() == 0 || cursor.next()? != LOCAL_GET {
        return None;
    }
    cursor.skip_integer().ok()?;
    if cursor.next()? != BR_TABLE {
        return None;
    }
    let targets = cursor.u32().ok()?;
    cursor.skip_integers(targets).ok()?;
    cursor.skip_integer().ok()?;
    let (sample, rest) = cursor.rest().split_at_checked(SAMPLE)?;
    (!rest.is_empty()).then_some(sample)
}

/// Counts what looks like uses of variables and calls, in 64 bytes at a time. Some of these are other instructions' constants, which hardly
/// changes which variables are used most; and no step waits for where an instruction ends, or for a jump that was foreseen wrongly.
#[inline(never)]
fn estimate(code: &[u8], planner: &mut Planner) {
    let (words, _) = code.as_chunks::<8>();
    for (index, words) in words.chunks(8).enumerate() {
        let (mut uses, mut calls) = (0, 0);
        for (at, word) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            uses |= equal(word & splat(!3), LOCAL_GET) << (8 * at);
            calls += equal(word, CALL).count_ones();
        }
        planner.calls(calls);
        // Variables with numbers of one byte.
        while uses != 0 {
            let at = 64 * index + uses.trailing_zeros() as usize;
            uses &= uses - 1;
            let [opcode, var] = [code[at], code.get(at + 1).copied().unwrap_or(u8::MAX)];
            if opcode <= LOCAL_TEE {
                planner.use_(u32::from(var), opcode != LOCAL_GET);
            }
        }
    }
}

const fn splat(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// Which bytes of a word are equal to this one, a bit each.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = splat(0x7f);
    let other = word ^ splat(byte);
    let zero = !(((other & LOW) + LOW) | other | LOW);
    (zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// An instruction that is rare, or whose opcode has several bytes.
#[inline(never)]
fn rare<'a>(
    table: &Table,
    rest: &'a [u8],
    end: u32,
    planner: &mut Planner,
) -> Check<(Cursor<'a>, bool)> {
    let mut cursor = Cursor::new(rest, end);
    let mut far = false;
    let pos = cursor.offset();
    let opcode = cursor.byte()?;
    let mut kind = table.plain[usize::from(opcode)].kind;
    if let Kind::PrefixFc | Kind::PrefixFd = kind {
        let page = match kind {
            Kind::PrefixFc => &table.fc,
            _ => &table.fd,
        };
        let instruction = page.get(cursor.u32()? as usize);
        kind = instruction.map_or(Kind::Illegal, |instruction| instruction.kind);
    }
    match kind {
        Kind::Unreachable | Kind::Unary | Kind::Binary | Kind::Ternary | Kind::RefIsNull => {}
        Kind::F32Const => drop(cursor.bytes::<4>()?),
        Kind::F64Const => drop(cursor.bytes::<8>()?),
        Kind::Shuffle | Kind::V128Const => drop(cursor.bytes::<16>()?),
        Kind::Load | Kind::Store | Kind::MemoryLane => {
            cursor.skip_integer()?;
            far = cursor.u32()? >= FAR;
            if kind == Kind::MemoryLane {
                cursor.byte()?;
            }
        }
        Kind::Lane | Kind::MemorySize | Kind::RefNull => drop(cursor.byte()?),
        // A tail call is none: the function is over then.
        Kind::TableGet | Kind::TableSize | Kind::ReturnCall => cursor.skip_integer()?,
        Kind::ReturnCallIndirect => {
            cursor.skip_integer()?;
            cursor.skip_integer()?;
        }
        Kind::BrTable => {
            let targets = cursor.u32()?;
            cursor.skip_integers(targets)?;
            cursor.skip_integer()?;
        }
        Kind::SelectTyped => {
            let types = cursor.u32()?;
            cursor.skip_integers(types)?;
        }
        // Helpers and other calls, with one index or two.
        Kind::MemoryGrow
        | Kind::TableSet
        | Kind::RefFunc
        | Kind::DataDrop
        | Kind::MemoryFill
        | Kind::ElemDrop
        | Kind::TableGrow
        | Kind::TableFill => {
            planner.call(pos);
            cursor.skip_integer()?;
        }
        Kind::CallIndirect
        | Kind::MemoryInit
        | Kind::MemoryCopy
        | Kind::TableInit
        | Kind::TableCopy => {
            planner.call(pos);
            cursor.skip_integer()?;
            cursor.skip_integer()?;
        }
        _ => return Err(invalid("illegal opcode")),
    }
    Ok((cursor, far))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(code: &[u8]) -> Scan {
        let mut planner = Planner::new();
        let table = Table::new(None);
        scan(&table, Cursor::new(code, 100), 4, true, &mut planner)
    }

    #[test]
    fn scans_up_to_the_functions_end() {
        // loop local.get 0 br_if 0 end i32.const -1 drop end
        let code = [0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b, 0x41, 0x7f, 0x1a, 0x0b];
        assert_eq!(
            run(&code),
            Scan {
                complete: true,
                ..Scan::default()
            }
        );
    }

    /// A loop that begins with two blocks and a table of branches, with so many reads of variable 1 in it.
    fn resumable_loop(reads: usize) -> Vec<u8> {
        let mut code = vec![
            0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1, 0x0b,
        ];
        code.extend([0x20, 1, 0x1a].repeat(reads));
        code.extend([0x0b, 0x0b, 0x0b]);
        code
    }

    #[test]
    fn resumable_loops_are_sampled_if_they_are_long() {
        let table = Table::new(None);
        let mut planner = Planner::new();
        let mut sampled = |code: &[u8], sample| {
            let cursor = Cursor::new(code, code.len() as u32);
            let scan = scan(&table, cursor, 4, sample, &mut planner);
            assert!(scan.complete);
            scan.sampled
        };
        let (short, long) = (resumable_loop(10), resumable_loop(1000));
        assert!(!sampled(&short, true));
        assert!(sampled(&long, true));
        assert!(!sampled(&long, false));
        // A loop that begins in another way is not resumable.
        let mut other = long;
        other.splice(2..2, [0x01]);
        assert!(!sampled(&other, true));
    }

    #[test]
    fn a_sample_tells_what_is_used_most() {
        // Behind the table, in which there are more of variable 1 than anywhere.
        let mut code = vec![0x03, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 40];
        code.extend([0x20, 1].repeat(20));
        code.extend([0, 0x0b]);
        code.extend([0x20, 3, 0x22, 2, 0x21, 3].repeat(20));
        code.extend([0x20, 1, 0x1a].repeat(100));
        code.extend([0x0b, 0x0b]);
        let mut planner = Planner::new();
        let cursor = Cursor::new(&code, code.len() as u32);
        let scan = scan(&Table::new(None), cursor, 4, true, &mut planner);
        assert!(scan.complete && scan.sampled);
        let mut expected = Planner::new();
        expected.begin(4);
        expected.loop_(0);
        (0..40).for_each(|at| expected.use_(3, at % 2 == 1));
        (0..20).for_each(|_| expected.use_(2, true));
        // What lies behind them in the sample.
        (0..3).for_each(|_| expected.use_(1, false));
        expected.cut(0);
        assert_eq!(
            format!("{:?}", planner.finish()),
            format!("{:?}", expected.finish())
        );
    }

    proptest! {
        #[test]
        fn equal_bytes_are_found(bytes: [u8; 8], byte: u8, at in 0..8usize) {
            for bytes in [bytes, { let mut other = bytes; other[at] = byte; other }] {
                let one = |at: usize| u64::from(bytes[at] == byte) << at;
                let expected = (0..8).map(one).sum::<u64>();
                prop_assert_eq!(equal(u64::from_le_bytes(bytes), byte), expected);
            }
        }
    }

    #[test]
    fn sees_far_offsets() {
        // i32.const 0 i32.load offset=0x80000000 drop end
        let code = [0x41, 0, 0x28, 2, 0x80, 0x80, 0x80, 0x80, 8, 0x1a, 0x0b];
        assert_eq!(
            run(&code),
            Scan {
                complete: true,
                far: true,
                ..Scan::default()
            }
        );
    }

    #[test]
    fn loops_inside_each_other_do_not_exhaust_memory() {
        let depth = 50_000;
        let mut code = [0x03, 0x40].repeat(depth);
        code.extend([0x0b].repeat(depth + 1));
        let table = Table::new(None);
        let mut planner = Planner::new();
        let cursor = Cursor::new(&code, code.len() as u32);
        assert!(scan(&table, cursor, 10, true, &mut planner).complete);
        assert!(!scan(&table, cursor, 50_000, true, &mut planner).complete);
    }

    #[test]
    fn work_is_in_proportion_to_the_function() {
        // Loops inside each other, around a read and a write of each variable.
        let body = |loops: usize, vars: u8| {
            let mut code = [0x03, 0x40].repeat(loops);
            (0..vars).for_each(|var| code.extend([0x20, var, 0x21, var]));
            code.extend([0x0b].repeat(loops + 1));
            code
        };
        let table = Table::new(None);
        let mut planner = Planner::new();
        let mut complete = |loops, vars| {
            let code = body(loops, vars);
            // Twice, since the planner keeps its counters from function to function.
            let mut again = || {
                let cursor = Cursor::new(&code, code.len() as u32);
                let scan = scan(&table, cursor, usize::from(vars), true, &mut planner);
                let most = LEAST_WORK + code.len() * WORK + usize::from(vars);
                assert!(planner.work() <= most, "{loops} loops, {vars} variables");
                (scan, planner.work())
            };
            let (first, second) = (again(), again());
            assert_eq!(first, second, "{loops} loops, {vars} variables");
            first.0.complete
        };
        assert!(complete(60, 127), "as deep as programs are");
        assert!(complete(10_000, 3));
        assert!(!complete(10_000, 127));
    }

    #[test]
    fn vectors_tables_and_references_are_passed_over() {
        // v128.const drop, local.get 0 v128.load8_lane 0 1 2, table.get, table.set, ref.null, ref.func, select, end
        let mut code = vec![0xfd, 0x0c];
        code.extend([7; 16]);
        code.extend([
            0x1a, 0x20, 0, 0xfd, 0x54, 0, 1, 2, 0x25, 0x80, 0, 0x26, 0, 0xd0, 0x70,
        ]);
        code.extend([
            0xd2, 0x80, 0, 0x1c, 1, 0x7f, 0xfd, 0x80, 1, 0xfc, 0x10, 0, 0x0b,
        ]);
        assert!(run(&code).complete);
    }

    #[test]
    fn anything_is_survived() {
        let valid = [
            0x02, 0x40, 0x0e, 2, 0, 0, 0, 0x0b, 0xfc, 0, 0x44, 1, 2, 3, 4, 5, 6, 7, 8, 0x0b,
        ];
        assert!(run(&valid).complete);
        for length in 0..valid.len() {
            assert!(!run(&valid[..length]).complete);
            for byte in 0..=255 {
                let mut broken = valid;
                broken[length] = byte;
                run(&broken);
            }
        }
        assert!(!run(&[0x0b, 0x0b]).complete, "code after the end");
        assert!(!run(&[0x0b - 1, 0xff]).complete);
        assert!(
            !run(&[0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]).complete,
            "a huge br_table"
        );
    }
}
