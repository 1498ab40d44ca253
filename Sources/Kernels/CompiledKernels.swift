package import AttentionTypes
package import Compute

/// The kernels of this module, which has a name of its own for each instruction set.
package enum CompiledKernels: KernelSet {
  #if GYRE_AVX512
    package static var instructions: InstructionSet { .avx512 }
  #elseif arch(x86_64)
    package static var instructions: InstructionSet { .avx2 }
  #else
    package static var instructions: InstructionSet { .neon }
  #endif

  package static func forward(
    _ work: ForwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void
  ) {
    team.run(ForwardPass(work), poll: poll)
  }

  package static func backward(
    _ work: BackwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void
  ) {
    switch work.accumulation {
    case .fast: team.run(BackwardPass(work), poll: poll)
    case .reproducible: team.run(ReproducibleBackwardPass(work), poll: poll)
    }
  }

  package static var productPanelWidth: Int { RegisterTile.width }

  package static func multiply(
    _ work: ProductWork, team: ThreadTeam, poll: (_ work: Int) -> Void
  ) {
    team.run(ProductPass(work), poll: poll)
  }

  package static func multiplyAddPeak() -> Double { MultiplyAddChains.flopsPerSecond() }
}
