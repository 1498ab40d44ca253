#if arch(x86_64)
  package import AttentionTypes
  package import Compute
  import KernelsAVX512BF16

  /// Kernels on tiles where products are of bf16 pairs and summed fast, on vectors for all else.
  ///
  /// Reproducible sums are left to vectors because tiles add in another order than these.
  package enum KernelsOnTiles<Tiles: TilePasses>: KernelSet {
    private typealias Vectors = KernelsAVX512BF16.CompiledKernels

    package static var instructions: InstructionSet { .amx }

    /// The fewest rows of queries for which a register tile is worth it.
    private static var fewestRows: Int { 16 }

    package static func forward(
      _ work: ForwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void
    ) {
      let suitsTiles =
        work.arithmetic == .bf16 && work.accumulation == .fast && work.tokens >= fewestRows
      if suitsTiles {
        Tiles.forward(work, team: team, poll: poll)
      } else {
        Vectors.forward(work, team: team, poll: poll)
      }
    }

    package static func backward(
      _ work: BackwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void
    ) {
      if work.arithmetic == .bf16 && work.accumulation == .fast {
        Tiles.backward(work, team: team, poll: poll)
      } else {
        Vectors.backward(work, team: team, poll: poll)
      }
    }

    package static var productPanelWidth: Int { Vectors.productPanelWidth }

    package static func multiply(
      _ work: ProductWork, team: ThreadTeam, poll: (_ work: Int) -> Void
    ) {
      Vectors.multiply(work, team: team, poll: poll)
    }

    package static func multiply(
      _ work: WeightProduct, team: ThreadTeam, poll: (_ work: Int) -> Void
    ) {
      Vectors.multiply(work, team: team, poll: poll)
    }

    package static func widen(_ row: StoredRow) { Vectors.widen(row) }

    package static func multiplyAddPeak(_ arithmetic: Arithmetic) -> Double {
      switch arithmetic {
      case .f32: Vectors.multiplyAddPeak(arithmetic)
      case .bf16: Tiles.multiplyAddPeak()
      }
    }
  }
#endif
