"""Everything in a folder: a sweep on one machine, without a cluster."""

from finetune_operator.folder.documents import Documents, read_documents
from finetune_operator.folder.errors import StateFolderError, StateFolderInUse
from finetune_operator.folder.reading import read_state
from finetune_operator.folder.store import FolderStore

__all__ = ["Documents", "FolderStore", "StateFolderError", "StateFolderInUse", "read_documents", "read_state"]
