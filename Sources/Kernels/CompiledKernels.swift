package import AttentionTypes
package import Compute

/// The kernels of this module, which has a name of its own for each instruction set.
package enum CompiledKernels: KernelSet {
  #if GYRE_BF16
    package static var instructions: InstructionSet { .avx512bf16 }
  #elseif GYRE_AVX512
    package static var instructions: InstructionSet { .avx512 }
  #elseif arch(x86_64)
    package static var instructions: InstructionSet { .avx2 }
  #else
    package static var instructions: InstructionSet { .neon }
  #endif

  package static func forward(
    _ work: ForwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void
  ) {
    switch work.arithmetic {
    case .f32 where work.hasFewRows:
      team.run(FewRowsPass(work, threads: team.threads), poll: poll)
    case .f32:
      ForwardPass<Float>(work).run(on: team, poll: poll)
    case .bf16:
      ForwardPass<BFloat16Pair>(work).run(on: team, poll: poll)
    }
  }

  package static func backward(
    _ work: BackwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void
  ) {
    switch (work.arithmetic, work.accumulation) {
    case (.f32, .fast):
      let pass = BackwardPass<Float>(work)
      team.run(ConcretePass(unitCount: pass.unitCount) { pass.run($0, poll: $1) }, poll: poll)
    case (.f32, .reproducible):
      let pass = ReproducibleBackwardPass<Float>(work)
      team.run(ConcretePass(unitCount: pass.unitCount) { pass.run($0, poll: $1) }, poll: poll)
    case (.bf16, .fast):
      let pass = BackwardPass<BFloat16Pair>(work)
      team.run(ConcretePass(unitCount: pass.unitCount) { pass.run($0, poll: $1) }, poll: poll)
    case (.bf16, .reproducible):
      let pass = ReproducibleBackwardPass<BFloat16Pair>(work)
      team.run(ConcretePass(unitCount: pass.unitCount) { pass.run($0, poll: $1) }, poll: poll)
    }
  }

  package static var productPanelWidth: Int { RegisterTile.width }

  package static func multiply(
    _ work: ProductWork, team: ThreadTeam, poll: (_ work: Int) -> Void
  ) {
    team.run(ProductPass(work), poll: poll)
  }

  package static func multiply(
    _ work: WeightProduct, team: ThreadTeam, poll: (_ work: Int) -> Void
  ) {
    if !WeightProduct.widensToMemory(rows: work.rows, arithmetic: work.arithmetic) {
      team.run(FewRowsProduct(work), poll: poll)
    } else {
      switch work.arithmetic {
      case .f32, nil: run(ManyRowsProduct<Float>.self, work, team: team, poll: poll)
      case .bf16: run(ManyRowsProduct<BFloat16Pair>.self, work, team: team, poll: poll)
      case .int8: run(ManyRowsProduct<ScaledBytes>.self, work, team: team, poll: poll)
      }
    }
  }

  @inline(__always)
  private static func run<Terms: PackedTerms>(
    _ product: ManyRowsProduct<Terms>.Type, _ work: WeightProduct, team: ThreadTeam,
    poll: (_ work: Int) -> Void
  ) {
    product.pack(work, team: team)
    let pass = product.init(work, threads: team.threads)
    team.run(ConcretePass(unitCount: pass.unitCount) { pass.run($0, poll: $1) }, poll: poll)
  }

  package static func widen(_ row: StoredRow) { row.type.visit(WeightWidening(row)) }

  package static func multiplyAddPeak(_ arithmetic: Arithmetic) -> Double {
    switch arithmetic {
    case .f32: MultiplyAddChains.flopsPerSecond(1e-3 as Float, 0.999)
    case .bf16:
      MultiplyAddChains.flopsPerSecond(
        BFloat16Pair(bits: 0x3A83_3A83), BFloat16Pair(bits: 0x3F7F_3F7F))
    }
  }
}
