//! The words and signs of the text form.

use logos::Logos;

/// A token; the lexer skips white space and comments, which begin with `//` and end with the line.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r\n]+")]
#[logos(skip(r"//[^\n]*", allow_greedy = true))]
pub(crate) enum Token<'s> {
    #[regex("[A-Za-z_][A-Za-z0-9_]*")]
    Word(&'s str),
    #[regex("[0-9][0-9_]*")]
    Int(&'s str),
    #[regex(r"[0-9][0-9_]*(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)")]
    Float(&'s str),
    /// Punctuation and operators.
    #[regex(r"->|==|!=|<=|>=|<<|>>|[-+*/%&|^~!<>=(){}\[\],:;]")]
    Sign(&'s str),
}

/// Where something stands in a text: both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The position of the byte at `offset`.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |line| line.chars().count())
            + 1;
        Position { line, column }
    }
}
