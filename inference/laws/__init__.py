"""Laws of the sites that algorithms add: picks, coins, ancestors, and the resampling schemes with their enumeration.

Law: what an algorithm draws here it can also enumerate, from the same function of the same uniforms.
May import: no other folder.
"""

from . import multinomial_resampling, systematic_resampling  # noqa: F401  (they register their schemes)
