"""Pictures of robust maps, in the manner of :mod:`captum.attr.visualization`.

Functions take tensors as Captum's attributions return them, channels first, and give back a figure
and its axes. As in Captum, ``plt_fig_axis=`` draws on axes of the caller; unlike there, nothing
pops up unless ``use_pyplot=True``. A script saves what it drew by ``figure.savefig("map.png")``.
"""

from captum_robust.visualization.attack import visualize_attack
from captum_robust.visualization.certified import visualize_certified_features
from captum_robust.visualization.curves import visualize_curves
from captum_robust.visualization.first_order import (
    visualize_jacobian,
    visualize_local_linearity,
    visualize_margins,
)
from captum_robust.visualization.maps import visualize_maps, visualize_radius_sweep
from captum_robust.visualization.regions import visualize_certified_regions
from captum_robust.visualization.upsample import Upsample

__all__ = [
    "Upsample",
    "visualize_attack",
    "visualize_certified_features",
    "visualize_certified_regions",
    "visualize_curves",
    "visualize_jacobian",
    "visualize_local_linearity",
    "visualize_maps",
    "visualize_margins",
    "visualize_radius_sweep",
]
