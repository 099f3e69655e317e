//! Trims a stencil: what clang laid out as a function that jumps to its continuation becomes code that falls through
//! into it.
//!
//! ```text
//! bytes ──decode──► blocks ──simplify──► blocks ──order──► pieces ──emit──► bytes
//! ```
//!
//! Clang emits conditional tail jumps, puts blocks behind the jump to the continuation, and may repeat that jump. So the
//! code is cut into basic blocks, jumps to jumps are threaded, conditions are inverted so that the likely block follows,
//! and the blocks are laid out again with the continuation at the end of the stencil. The graph is the same for every
//! architecture; how a branch is recognised, inverted and encoded stands in one module an architecture.

mod aarch64;
pub(crate) mod riscv64;
mod x86_64;

use copatch_spec::Target;

use crate::disassembly::disassembler;
use crate::refusal::Refusal;
use crate::stencil::{Bits, RawStencil, Relocation, hole};

/// A stencil that falls through into its continuation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trimmed {
    /// Its bytes; those that holes fill are zero.
    pub code: Vec<u8>,
    /// What the linker would have to fill in, ascending by offset; the continuation is not among them.
    pub holes: Vec<Relocation>,
}

/// What a conditional branch tests, as its architecture encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition(u32);

/// What an instruction does to control. Distances count from the instruction's first byte.
enum Control {
    /// On to the next instruction; calls too.
    None,
    Jump {
        distance: i64,
    },
    Branch {
        condition: Condition,
        distance: i64,
    },
    /// Control does not come back: return, jump through a register, trap.
    Stop,
    /// A branch that cannot be inverted or reach far.
    Unknown,
}

/// An encoded branch and, if it goes to a hole, where its window lies.
struct Encoded {
    bytes: Vec<u8>,
    field: usize,
    window: u8,
    addend: i64,
    bits: Option<&'static Bits>,
}

/// What differs between architectures.
trait Architecture {
    /// How many bytes after the first instruction of `code` are its second half: two instructions that one relocation
    /// fills together count as one.
    fn second_half(&self, _code: &[u8]) -> usize {
        0
    }
    /// Classifies one instruction.
    fn control(&self, bytes: &[u8]) -> Control;
    /// Whether a disassembled instruction refers to code or data relative to itself, and so needs a relocation.
    fn refers_to_code(&self, mnemonic: &str, operands: &str) -> bool;
    /// The opposite condition.
    fn invert(&self, condition: Condition) -> Condition;
    /// A jump over `distance`, or to a hole.
    fn jump(&self, distance: Option<i64>) -> Encoded;
    /// A conditional branch over `distance`, or to a hole.
    fn branch(&self, condition: Condition, distance: Option<i64>) -> Encoded;
}

/// Where control goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Edge {
    Block(usize),
    /// Out of the stencil, to what follows it.
    Continue,
    /// To the hole of that name.
    Hole(String),
}

/// How a block ends.
#[derive(Clone, Debug)]
enum Exit {
    Goto(Edge),
    Branch {
        condition: Condition,
        to: Edge,
        otherwise: Edge,
    },
    /// Its last instruction does not come back.
    Stop,
}

/// A run of instructions that is only entered at its start: bytes `[start, end)` of the raw stencil, its branch left out.
#[derive(Debug)]
struct Block {
    start: usize,
    end: usize,
    exit: Exit,
}

/// Blocks up to this many are laid out in the best of all orders.
const SEARCHED: usize = 6;

/// Trims a stencil.
///
/// # Errors
/// A [`Refusal`] when the code does not decode, a branch cannot be understood, or a relocation lies across instructions.
pub fn trim(raw: &RawStencil, target: &Target) -> Result<Trimmed, Refusal> {
    let refuse = |what: String, advice: &'static str| {
        Refusal::new(
            &raw.name,
            &target.arch,
            &raw.code,
            &raw.relocations,
            what,
            advice,
        )
    };
    let architecture: &dyn Architecture = match target.arch.as_str() {
        "aarch64" => &aarch64::Aarch64,
        "riscv64" => &riscv64::Riscv64,
        "x86_64" => &x86_64::X86_64,
        arch => {
            return Err(refuse(
                format!("branches of {arch} are not known"),
                "add a module for the architecture beside packer/src/cfg/x86_64.rs",
            ));
        }
    };
    let instructions =
        decode(raw, &target.arch, architecture).map_err(|(what, advice)| refuse(what, advice))?;
    let mut blocks = blocks(raw.code.len(), &instructions);
    let entry = simplify(&mut blocks);
    let order = order(&blocks, &entry);
    emit(raw, architecture, &blocks, &entry, &order).map_err(|what| {
        refuse(
            what,
            "this is a bug of the packer; report it with this stencil",
        )
    })
}

/// One instruction; edges still name byte offsets as if they were blocks.
struct Instruction {
    start: usize,
    end: usize,
    flow: Flow,
}

enum Flow {
    Next,
    Jump(Edge),
    Branch(Condition, Edge),
    Stop,
}

type Fault = (String, &'static str);

fn decode(
    raw: &RawStencil,
    arch: &str,
    architecture: &dyn Architecture,
) -> Result<Vec<Instruction>, Fault> {
    const BODY: &str = "write the operation's body so that clang compiles it without such code, \
        or make it a helper";
    let disassembler = disassembler(arch, false)
        .map_err(|what| (what, "build capstone with this architecture"))?;
    let decoded = disassembler
        .disasm_all(&raw.code, 0)
        .map_err(|error| (error.to_string(), BODY))?;
    let mut relocations = raw.relocations.iter().peekable();
    let mut instructions = Vec::new();
    let mut end = 0;
    let mut decoded = decoded.iter();
    while let Some(instruction) = decoded.next() {
        let start = end;
        end += instruction.len();
        let second = architecture.second_half(&raw.code[start..]);
        if second > 0 && decoded.next().is_some() {
            end += second;
        }
        let at = |what: &str| (format!("{what} at {start:#x}"), BODY);
        let mut relocation = None;
        while let Some(next) = relocations.next_if(|next| next.offset < end) {
            if next.offset + usize::from(next.window) > end || next.offset < start {
                return Err(at("a relocation lies across two instructions"));
            }
            relocation = Some(next);
        }
        let edge = |distance: i64| match relocation {
            None => match start.checked_add_signed(distance as isize) {
                Some(to) if to < raw.code.len() => Ok(Edge::Block(to)),
                // Assembly may end where it goes on.
                Some(to) if to == raw.code.len() => Ok(Edge::Continue),
                _ => Err(at("a branch leaves the stencil without a relocation")),
            },
            // What the relocation gives must be the symbol itself, or the branch would be changed by moving it.
            Some(hole) => {
                let encoded = architecture.jump(None);
                if !hole.pc_relative
                    || hole.window != encoded.window
                    || hole.addend != encoded.addend
                {
                    Err(at("a branch has an unusual relocation"))
                } else if hole.symbol == hole::NEXT {
                    Ok(Edge::Continue)
                } else {
                    Ok(Edge::Hole(hole.symbol.clone()))
                }
            }
        };
        let flow = match architecture.control(&raw.code[start..end]) {
            Control::None => {
                let text = instruction.op_str().unwrap_or("");
                let mnemonic = instruction.mnemonic().unwrap_or("");
                if relocation.is_none() && architecture.refers_to_code(mnemonic, text) {
                    return Err(at("a reference relative to the code has no relocation"));
                }
                if relocation.is_some_and(|relocation| relocation.symbol == hole::NEXT) {
                    return Err(at("the continuation is used as a value, not jumped to"));
                }
                Flow::Next
            }
            Control::Jump { distance } => Flow::Jump(edge(distance)?),
            Control::Branch {
                condition,
                distance,
            } => Flow::Branch(condition, edge(distance)?),
            Control::Stop => Flow::Stop,
            Control::Unknown => return Err(at("a branch that cannot be inverted")),
        };
        instructions.push(Instruction { start, end, flow });
    }
    if end != raw.code.len() {
        return Err((format!("the code does not decode at {end:#x}"), BODY));
    }
    // Edges into the middle of an instruction would be lost.
    for instruction in &instructions {
        if let Flow::Jump(Edge::Block(to)) | Flow::Branch(_, Edge::Block(to)) = &instruction.flow
            && instructions
                .binary_search_by_key(to, |other| other.start)
                .is_err()
        {
            return Err((format!("a branch into an instruction, at {to:#x}"), BODY));
        }
    }
    Ok(instructions)
}

/// Cuts at branches and at what they lead to.
fn blocks(length: usize, instructions: &[Instruction]) -> Vec<Block> {
    let mut starts = vec![0];
    for instruction in instructions {
        if let Flow::Jump(Edge::Block(to)) | Flow::Branch(_, Edge::Block(to)) = &instruction.flow {
            starts.push(*to);
        }
        if !matches!(instruction.flow, Flow::Next) && instruction.end < length {
            starts.push(instruction.end);
        }
    }
    starts.sort_unstable();
    starts.dedup();
    let number = |edge: &Edge| match edge {
        Edge::Block(to) => Edge::Block(starts.partition_point(|start| start < to)),
        edge => edge.clone(),
    };
    let mut blocks = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let limit = starts.get(index + 1).copied().unwrap_or(length);
        let follows = if limit == length {
            Edge::Continue
        } else {
            Edge::Block(index + 1)
        };
        let last = instructions
            .iter()
            .find(|instruction| instruction.start >= *start && instruction.end == limit);
        let (end, exit) = match last {
            Some(last) => match &last.flow {
                Flow::Next => (limit, Exit::Goto(follows)),
                Flow::Stop => (limit, Exit::Stop),
                Flow::Jump(to) => (last.start, Exit::Goto(number(to))),
                Flow::Branch(condition, to) => (
                    last.start,
                    Exit::Branch {
                        condition: *condition,
                        to: number(to),
                        otherwise: follows,
                    },
                ),
            },
            None => (limit, Exit::Goto(follows)),
        };
        blocks.push(Block {
            start: *start,
            end,
            exit,
        });
    }
    blocks
}

/// Threads edges through blocks that only jump, and gives the edge to the first block that does something.
fn simplify(blocks: &mut [Block]) -> Edge {
    let through = |edge: &Edge, blocks: &[Block]| {
        let mut edge = edge.clone();
        // A chain longer than the blocks there are is an endless loop.
        for _ in 0..blocks.len() {
            match edge {
                Edge::Block(index) if blocks[index].start == blocks[index].end => {
                    match &blocks[index].exit {
                        Exit::Goto(next) => edge = next.clone(),
                        _ => break,
                    }
                }
                _ => break,
            }
        }
        edge
    };
    for index in 0..blocks.len() {
        let exit = match &blocks[index].exit {
            Exit::Goto(edge) => Exit::Goto(through(edge, blocks)),
            Exit::Branch {
                condition,
                to,
                otherwise,
            } => {
                let (to, otherwise) = (through(to, blocks), through(otherwise, blocks));
                if to == otherwise {
                    Exit::Goto(to)
                } else {
                    Exit::Branch {
                        condition: *condition,
                        to,
                        otherwise,
                    }
                }
            }
            Exit::Stop => Exit::Stop,
        };
        blocks[index].exit = exit;
    }
    through(&Edge::Block(0), blocks)
}

/// The blocks that can be reached, in the order in which they are emitted: the entry first, and the fewest jumps.
fn order(blocks: &[Block], entry: &Edge) -> Vec<usize> {
    let mut reached = vec![false; blocks.len()];
    let mut open = vec![entry.clone()];
    while let Some(edge) = open.pop() {
        if let Edge::Block(index) = edge
            && !reached[index]
        {
            reached[index] = true;
            match &blocks[index].exit {
                Exit::Goto(edge) => open.push(edge.clone()),
                Exit::Branch { to, otherwise, .. } => open.extend([to.clone(), otherwise.clone()]),
                Exit::Stop => {}
            }
        }
    }
    let Edge::Block(first) = *entry else {
        return Vec::new();
    };
    let rest: Vec<usize> = (0..blocks.len())
        .filter(|index| reached[*index] && *index != first)
        .collect();
    let with_first = |rest: &[usize]| [&[first], rest].concat();
    let mut candidates = Vec::new();
    if rest.len() < SEARCHED {
        permute(&mut Vec::new(), &rest, &mut |rest| {
            candidates.push(with_first(rest))
        });
    } else {
        candidates.push(with_first(&rest));
        for last in &rest {
            let mut moved: Vec<usize> = rest.iter().copied().filter(|b| b != last).collect();
            moved.push(*last);
            candidates.push(with_first(&moved));
        }
    }
    // The first of equals stands nearest to clang's own order.
    candidates
        .into_iter()
        .min_by_key(|order| jumps(blocks, order))
        .unwrap_or_default()
}

/// Calls `found` for every order of `rest`, in ascending lexicographic order.
fn permute(chosen: &mut Vec<usize>, rest: &[usize], found: &mut impl FnMut(&[usize])) {
    if rest.is_empty() {
        found(chosen);
    }
    for (index, next) in rest.iter().enumerate() {
        chosen.push(*next);
        permute(
            chosen,
            &[&rest[..index], &rest[index + 1..]].concat(),
            found,
        );
        chosen.pop();
    }
}

/// How many unconditional jumps an order needs.
fn jumps(blocks: &[Block], order: &[usize]) -> usize {
    let mut count = 0;
    for (position, index) in order.iter().enumerate() {
        let follows = following(order, position);
        count += match &blocks[*index].exit {
            Exit::Goto(edge) => usize::from(*edge != follows),
            Exit::Branch { to, otherwise, .. } => {
                usize::from(*to != follows && *otherwise != follows)
            }
            Exit::Stop => 0,
        };
    }
    count
}

/// What the block at `position` falls through into.
fn following(order: &[usize], position: usize) -> Edge {
    match order.get(position + 1) {
        Some(next) => Edge::Block(*next),
        None => Edge::Continue,
    }
}

/// A branch to emit: behind which bytes of which block it stands is its place in the list of pieces.
#[derive(Debug)]
enum Piece {
    Code { block: usize },
    Jump { to: Edge },
    Branch { condition: Condition, to: Edge },
}

/// Encodes the blocks in order. Branches within the stencil start short and grow until all reach.
fn emit(
    raw: &RawStencil,
    architecture: &dyn Architecture,
    blocks: &[Block],
    entry: &Edge,
    order: &[usize],
) -> Result<Trimmed, String> {
    let pieces = pieces(architecture, blocks, entry, order);
    let encode = |piece: &Piece, distance: Option<i64>| match piece {
        Piece::Code { .. } => None,
        Piece::Jump { .. } => Some(architecture.jump(distance)),
        Piece::Branch { condition, .. } => Some(architecture.branch(*condition, distance)),
    };
    let to = |piece: &Piece| match piece {
        Piece::Code { .. } => None,
        Piece::Jump { to } | Piece::Branch { to, .. } => Some(to.clone()),
    };
    let mut sizes: Vec<usize> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Code { block } => blocks[*block].end - blocks[*block].start,
            _ => {
                let near = !matches!(to(piece), Some(Edge::Hole(_)));
                encode(piece, near.then_some(0)).map_or(0, |encoded| encoded.bytes.len())
            }
        })
        .collect();
    // Sizes only grow, so this ends.
    let (starts, distances) = loop {
        let mut at = 0;
        let mut starts = Vec::new();
        let mut block_starts = vec![0; blocks.len()];
        for (piece, size) in pieces.iter().zip(&sizes) {
            if let Piece::Code { block } = piece {
                block_starts[*block] = at;
            }
            starts.push(at);
            at += size;
        }
        let distances: Vec<Option<i64>> = pieces
            .iter()
            .zip(&starts)
            .map(|(piece, start)| match to(piece)? {
                Edge::Block(index) => Some(block_starts[index] as i64 - *start as i64),
                Edge::Continue => Some(at as i64 - *start as i64),
                Edge::Hole(_) => None,
            })
            .collect();
        let mut grown = false;
        for ((piece, distance), size) in pieces.iter().zip(&distances).zip(&mut sizes) {
            if let Some(encoded) = encode(piece, *distance)
                && encoded.bytes.len() > *size
            {
                *size = encoded.bytes.len();
                grown = true;
            }
        }
        if !grown {
            break (starts, distances);
        }
    };
    let mut trimmed = Trimmed {
        code: Vec::new(),
        holes: Vec::new(),
    };
    for (((piece, start), distance), size) in pieces.iter().zip(&starts).zip(&distances).zip(&sizes)
    {
        if let Piece::Code { block } = piece {
            let block = &blocks[*block];
            let bytes = raw.code.get(block.start..block.end);
            trimmed.code.extend_from_slice(bytes.unwrap_or_default());
            for relocation in &raw.relocations {
                if (block.start..block.end).contains(&relocation.offset) {
                    trimmed.holes.push(Relocation {
                        offset: relocation.offset - block.start + start,
                        ..relocation.clone()
                    });
                }
            }
        }
        if let Some(encoded) = encode(piece, *distance) {
            trimmed.code.extend_from_slice(&encoded.bytes);
            if let Some(Edge::Hole(symbol)) = to(piece) {
                trimmed.holes.push(Relocation {
                    offset: start + encoded.field,
                    symbol,
                    window: encoded.window,
                    pc_relative: true,
                    addend: encoded.addend,
                    bits: encoded.bits,
                });
            }
        }
        if trimmed.code.len() != start + size {
            return Err(format!("a branch at {start:#x} changed its size"));
        }
    }
    for hole in &trimmed.holes {
        let window = hole.offset..hole.offset + usize::from(hole.window);
        if let Some(bytes) = trimmed.code.get_mut(window) {
            match hole.bits {
                None => bytes.fill(0),
                Some(bits) => clear(bytes, bits),
            }
        }
    }
    Ok(trimmed)
}

/// Clears the bits of a window that a hole fills.
fn clear(window: &mut [u8], bits: &Bits) {
    for field in bits.fields {
        for bit in usize::from(field.start)..usize::from(field.end) {
            if let Some(byte) = window.get_mut(bit / 8) {
                *byte &= !(1 << (bit % 8));
            }
        }
    }
}

/// The blocks in order, with the branches that are still needed between them.
fn pieces(
    architecture: &dyn Architecture,
    blocks: &[Block],
    entry: &Edge,
    order: &[usize],
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if let Edge::Hole(_) = entry {
        pieces.push(Piece::Jump { to: entry.clone() });
    }
    for (position, index) in order.iter().enumerate() {
        pieces.push(Piece::Code { block: *index });
        let follows = following(order, position);
        match &blocks[*index].exit {
            Exit::Stop => {}
            Exit::Goto(to) if *to == follows => {}
            Exit::Goto(to) => pieces.push(Piece::Jump { to: to.clone() }),
            Exit::Branch {
                condition,
                to,
                otherwise,
            } => {
                let (condition, to, otherwise) = if *to == follows {
                    (architecture.invert(*condition), otherwise, to)
                } else {
                    (*condition, to, otherwise)
                };
                pieces.push(Piece::Branch {
                    condition,
                    to: to.clone(),
                });
                if *otherwise != follows {
                    pieces.push(Piece::Jump {
                        to: otherwise.clone(),
                    });
                }
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests;
