"""Stand-in for the module SampleData: what is registered is written down."""

from typing import Any, ClassVar


class SampleDataLogic:
    """Keeps the sources that modules register; downloads nothing."""

    sources: ClassVar[list[dict[str, Any]]] = []

    @staticmethod
    def registerCustomSampleDataSource(category: str = "Custom", **source: Any) -> None:
        """Write down a source; uris, fileNames and checksums must be of one length, as Slicer demands."""
        values = [source.get(key) for key in ("uris", "fileNames", "checksums", "nodeNames")]
        if len({len(value) for value in values if isinstance(value, list)}) > 1:
            raise ValueError("Sample data: uris, fileNames, nodeNames and checksums differ in length.")
        SampleDataLogic.sources.append({"category": category, **source})
