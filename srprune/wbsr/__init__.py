"""Dynamic inference (WBSR): each tile of an image gets as much network as it needs.

A router says what it knows of each LR tile and chooses a subnet for it; see
:class:`srprune.wbsr.router.Router`. ``ROUTERS`` maps the name of a router to its class.
"""

from srprune.core.registry import Table

ROUTERS = Table(
    "router",
    {
        "class_module": "srprune.wbsr.class_module:ClassModuleRouter",
        "edge_psnr": "srprune.wbsr.edge_psnr:EdgePsnrRouter",
        "gradient": "srprune.wbsr.gradient_router:GradientRouter",
    },
)
