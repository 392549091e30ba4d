"""The forms in which a core-set leaves: files that other trainers read, without torch.

All but ``list`` write a folder; the target is called with one :class:`srprune.exports.job.Job`.
"""

from srprune.core.registry import Table

LIST = "list"  # a file without pixels, not a folder
WITH_FACTS = ("webdataset", "hf")  # these tell the score and the weight of each patch

EXPORTS = Table(
    "export",
    {
        "folder": "srprune.exports.folder:folder",
        "basicsr": "srprune.exports.folder:basicsr",
        "basicsr-lmdb": "srprune.exports.lmdb_pair:basicsr_lmdb",
        "kair": "srprune.exports.folder:kair",
        "neosr": "srprune.exports.folder:neosr",
        "traiNNer-redux": "srprune.exports.folder:trainner_redux",
        "webdataset": "srprune.exports.tar_shards:webdataset",
        "hf": "srprune.exports.hugging_face:hf",
        LIST: "srprune.exports.listing:write_list",
    },
)
