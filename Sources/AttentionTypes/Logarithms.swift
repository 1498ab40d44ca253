/// log₂e: turns natural-log units into the base-2 units of the kernels.
package let log2OfE: Float = 1.442_695_04

/// ln 2: turns them back.
package let lnOf2: Float = 0.693_147_18
