//! What can go wrong: at opening, as [`OpenError`] for the operator; afterwards, as the ports' own `PortError`.

use std::path::PathBuf;

use paybell_core::ports::PortError;
use rusqlite::{Error as SqlError, ErrorCode};

/// The name of this engine in errors.
const PART: &str = "the embedded store";

/// Why the engine cannot be opened. Each asks for an operator; none is worth a retry but `Locked`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on the folder.
    #[error("{} is in use by {holder}: stop that process, or choose another embedded.data_dir", path.display())]
    Locked { path: PathBuf, holder: String, is_errand: bool },
    /// An errand found nothing that a service left.
    #[error(
        "{} does not exist, so there is nothing to look at: set embedded.data_dir to the folder of the service",
        path.display()
    )]
    Missing { path: PathBuf },
    /// The folder or the lock file cannot be used.
    #[error("{} cannot be used: {source}: check embedded.data_dir, its owner and its free space", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    /// The file was written by a newer version.
    #[error(
        "{} has schema version {found}, and this version of paybell reads up to {known}: run the newer version again",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// SQLite cannot open or read the file.
    #[error("{} cannot be opened: {cause}", path.display())]
    Database { path: PathBuf, cause: String },
    /// The operating system gives no thread.
    #[error("a thread of the embedded store cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Why a job failed.
#[derive(Debug)]
pub(crate) enum StoreError {
    Sql(rusqlite::Error),
    /// A row that this code cannot have written.
    Corrupt(String),
}

impl StoreError {
    /// The file or the disk is at fault, not the job: every job of the group would fail alike.
    pub fn is_storage(&self) -> bool {
        matches!(self.code(), Some(code) if !matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch
            | ErrorCode::TooBig | ErrorCode::ParameterOutOfRange | ErrorCode::Unknown))
    }

    /// The connection may be of no use any more: open a new one.
    pub fn spoils_the_connection(&self) -> bool {
        self.is_storage()
            && !matches!(
                self.code(),
                Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            )
    }

    /// A row is at fault, and nothing else: others can be read.
    pub fn is_unreadable(&self) -> bool {
        match self {
            StoreError::Corrupt(_) => true,
            StoreError::Sql(error) => matches!(
                error,
                SqlError::FromSqlConversionFailure(..)
                    | SqlError::IntegralValueOutOfRange(..)
                    | SqlError::InvalidColumnType(..)
                    | SqlError::Utf8Error(..)
            ),
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            StoreError::Sql(error) => error.sqlite_error_code(),
            StoreError::Corrupt(_) => None,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::Sql(error)
    }
}

impl From<&StoreError> for PortError {
    fn from(error: &StoreError) -> Self {
        let is_damaged = matches!(error.code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
        let is_unreadable = is_damaged || error.is_unreadable();
        match error {
            StoreError::Sql(error) if is_unreadable => corrupt(error.to_string()),
            StoreError::Sql(error) => unavailable(error.to_string()),
            StoreError::Corrupt(cause) => corrupt(cause.clone()),
        }
    }
}

/// Try again later.
pub(crate) fn unavailable(cause: impl Into<String>) -> PortError {
    PortError::Unavailable { part: PART, cause: cause.into() }
}

/// The engine was closed.
pub(crate) fn closed() -> PortError {
    unavailable("closed")
}

fn corrupt(cause: String) -> PortError {
    PortError::Corrupt { part: PART, cause }
}
