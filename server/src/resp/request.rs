//! A request as it lies in the buffer that it was read into.

use super::number::push_integer;

/// Where an argument lies in the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

/// One command with its arguments, borrowed from the connection's buffer: reading it copies and allocates nothing.
///
/// A request has at least one argument, the command's name.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    buffer: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Request<'a> {
    /// The request whose arguments lie at these places of the buffer; all of them do, and there is at least one.
    pub fn new(buffer: &'a [u8], spans: &'a [Span]) -> Request<'a> {
        debug_assert!(
            !spans.is_empty() && spans.iter().all(|span| span.start <= span.end && span.end as usize <= buffer.len())
        );
        Request { buffer, spans }
    }

    /// A request of other arguments that lie in the same buffer.
    pub fn with_spans<'b>(&self, spans: &'b [Span]) -> Request<'b>
    where
        'a: 'b,
    {
        Request::new(self.buffer, spans)
    }

    /// Where the argument at this place lies.
    pub fn span(&self, at: usize) -> Span {
        self.spans[at]
    }

    /// How far it reaches in the buffer, from the name to the last argument, in bytes. Takes constant time.
    pub fn extent(&self) -> usize {
        match self.spans {
            [first, .., last] => (last.end - first.start) as usize,
            _ => 0,
        }
    }

    /// A copy that outlives the buffer.
    pub fn to_owned(&self) -> OwnedRequest {
        OwnedRequest::new(self.args_from(0))
    }

    /// How many arguments there are, the name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Never true: a request has a name.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at this place; 0 is the name. Panics beyond the last one, as a slice does: arity is checked
    /// before a command runs.
    pub fn arg(&self, at: usize) -> &'a [u8] {
        let span = self.spans[at];
        &self.buffer[span.start as usize..span.end as usize]
    }

    /// The arguments from this place on.
    pub fn args_from(&self, at: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let buffer = self.buffer;
        self.spans[at.min(self.spans.len())..].iter().map(move |span| &buffer[span.start as usize..span.end as usize])
    }
}

/// Appends a request as a client sends it, and where its arguments lie, counted from its first byte.
pub(crate) fn encode<'b>(arguments: impl ExactSizeIterator<Item = &'b [u8]>, out: &mut Vec<u8>, spans: &mut Vec<Span>) {
    let first = out.len();
    let head = |mark: u8, number: usize, out: &mut Vec<u8>| {
        out.push(mark);
        // Lengths of what is in memory fit.
        push_integer(out, number as i64);
        out.extend_from_slice(b"\r\n");
    };
    head(b'*', arguments.len(), out);
    for argument in arguments {
        head(b'$', argument.len(), out);
        let start = out.len() - first;
        out.extend_from_slice(argument);
        // A request is below 4 GiB: the scanner sees to that.
        spans.push(Span { start: start as u32, end: (start + argument.len()) as u32 });
        out.extend_from_slice(b"\r\n");
    }
}

/// A request of its own.
#[derive(Clone, Debug)]
pub struct OwnedRequest {
    buffer: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedRequest {
    /// The request of these arguments; there is at least one. They are shorter than 4 GiB together, since a client
    /// sent them and the query buffer is smaller than that.
    pub fn new<'b>(arguments: impl Iterator<Item = &'b [u8]>) -> OwnedRequest {
        let (mut buffer, mut spans) = (Vec::new(), Vec::new());
        for argument in arguments {
            let start = buffer.len() as u32;
            buffer.extend_from_slice(argument);
            spans.push(Span { start, end: buffer.len() as u32 });
        }
        OwnedRequest { buffer, spans }
    }

    /// The request.
    pub fn as_request(&self) -> Request<'_> {
        Request::new(&self.buffer, &self.spans)
    }
}
