package import Compute

/// The kernels as they are compiled for one instruction set.
///
/// The same sources are compiled as a module for each; what is asked of them is a whole pass, so
/// that finding the right one costs nothing.
package protocol KernelSet: Sendable {
  /// What they were compiled for.
  static var instructions: InstructionSet { get }

  /// Adds what the keys of a block do to queries.
  ///
  /// - Parameter poll: as in ``ThreadTeam/run(_:poll:)``, with scores.
  static func forward(_ work: ForwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void)

  /// Adds what queries and the keys of a block do to the gradients of each other.
  ///
  /// - Parameter poll: likewise.
  static func backward(_ work: BackwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void)

  /// Columns of a panel of the right factor of a matrix product.
  static var productPanelWidth: Int { get }

  /// Multiplies matrices.
  ///
  /// - Parameter poll: as in ``ThreadTeam/run(_:poll:)``, with multiply–adds.
  static func multiply(_ work: ProductWork, team: ThreadTeam, poll: (_ work: Int) -> Void)

  /// Multiplies rows by weights as they are stored.
  ///
  /// - Parameter poll: likewise.
  static func multiply(_ work: WeightProduct, team: ThreadTeam, poll: (_ work: Int) -> Void)

  /// Widens a row of weights.
  static func widen(_ row: StoredRow)

  /// Makes nothing but multiply–adds for some milliseconds.
  ///
  /// - Returns: floating-point operations a second, two for each multiply–add.
  static func multiplyAddPeak(_ arithmetic: Arithmetic) -> Double
}

/// Passes over products of bf16 pairs in tile registers, whose results are summed fast.
package protocol TilePasses: Sendable {
  /// As ``KernelSet/forward(_:team:poll:)``.
  static func forward(_ work: ForwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void)

  /// As ``KernelSet/backward(_:team:poll:)``.
  static func backward(_ work: BackwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void)

  /// As ``KernelSet/multiplyAddPeak(_:)``.
  static func multiplyAddPeak() -> Double
}
