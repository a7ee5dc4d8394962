//! The operations of an object store, by the names that metrics and test scripts use.

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Writing an object in one request.
    Put,
    /// Beginning an upload in parts.
    PutMultipart,
    /// One part of an upload.
    PutPart,
    /// Finishing an upload in parts.
    CompleteMultipart,
    /// Throwing an upload in parts away.
    AbortMultipart,
    /// Reading an object or a range of it.
    Get,
    /// Reading an object's description only.
    Head,
    /// Reading several ranges at once, by the store's own way.
    GetRanges,
    /// Deleting one object.
    Delete,
    /// Listing everything below a prefix.
    List,
    /// Listing one level below a prefix.
    ListWithDelimiter,
    /// Copying on the server.
    Copy,
    /// Moving on the server.
    Rename,
}

impl Op {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutMultipart => "put_multipart",
            Self::PutPart => "put_part",
            Self::CompleteMultipart => "complete_multipart",
            Self::AbortMultipart => "abort_multipart",
            Self::Get => "get",
            Self::Head => "head",
            Self::GetRanges => "get_ranges",
            Self::Delete => "delete",
            Self::List => "list",
            Self::ListWithDelimiter => "list_with_delimiter",
            Self::Copy => "copy",
            Self::Rename => "rename",
        }
    }

    /// `Head` or `Get`, as the options say.
    pub(crate) fn of_get(options: &object_store::GetOptions) -> Self {
        if options.head { Self::Head } else { Self::Get }
    }
}
