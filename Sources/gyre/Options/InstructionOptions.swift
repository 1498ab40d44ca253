import ArgumentParser
import Attention
import Hosts
import Jobs
import Reporting

/// `--instructions auto|avx2|avx512|…`: whose kernels compute.
struct InstructionOptions: ParsableArguments {
  @Option(
    help: """
      The instruction set whose kernels compute. auto: on each rank the best that its processor \
      has. Ranks with different ones work together.
      """)
  var instructions = InstructionChoice.auto

  /// Chooses the kernels of this process.
  ///
  /// - Parameters:
  ///   - arithmetics: what they are to compute with.
  ///   - weightProducts: and what they are to multiply by weights with, where that is said.
  func apply(for arithmetics: [Arithmetic], _ weightProducts: ProductArithmetic?) throws {
    guard let set = instructions.set else {
      // Emulated where that was asked for, which is for tests: it is slower than F32.
      if InstructionSet.inUse.hasBF16 { return }
      if let weightProducts, weightProducts != .f32 {
        throw MissingWeightProductsError(arithmetic: weightProducts)
      }
      if arithmetics.contains(.bf16) { throw MissingArithmeticError() }
      return
    }
    guard InstructionSet.ofThisProcessor.contains(set) else {
      throw MissingInstructionsError(
        set: set, missing: set.missingFeatures(cpuinfo: text(ofFile: "/proc/cpuinfo")))
    }
    InstructionSet.use(set)
  }
}

/// What `--instructions` takes.
struct InstructionChoice: ExpressibleByArgument, CustomStringConvertible {
  /// The best that there is.
  static let auto = InstructionChoice(set: nil)

  /// nil for the best that there is.
  let set: InstructionSet?

  private init(set: InstructionSet?) {
    self.set = set
  }

  init?(argument: String) {
    guard argument != "auto" else {
      set = nil
      return
    }
    guard let set = InstructionSet.compiled.first(where: { $0.rawValue == argument }) else {
      return nil
    }
    self.set = set
  }

  static var allValueStrings: [String] { ["auto"] + InstructionSet.compiled.map(\.rawValue) }

  var description: String { self.set?.rawValue ?? "auto" }
  var defaultValueDescription: String { description }
}

/// A rank whose processor lacks what was asked for.
struct MissingInstructionsError: ExitCoded, CustomStringConvertible {
  let set: InstructionSet
  let missing: [String]

  var exitCode: Int32 { usageExitCode }

  var description: String {
    if missing.isEmpty {
      return "Linux does not let this process use the tiles that --instructions \(set) needs "
        + "(5.16 and later do); leave it out, and every rank uses the best that it may."
    }
    return
      "the processor lacks \(listed(missing)), which --instructions \(set) needs; leave it out, "
      + "and every rank uses the best that its processor has."
  }
}

/// A rank whose processor has no bf16 arithmetic.
struct MissingArithmeticError: ExitCoded, CustomStringConvertible {
  var exitCode: Int32 { usageExitCode }

  var description: String {
    "the processor has no instructions for --arithmetic bf16 (avx512_bf16); leave it out and give "
      + "--wire bf16 for the smaller messages alone, or add --instructions "
      + "\(InstructionSet.required), which emulates them for tests."
  }
}

/// A rank whose processor cannot multiply by weights as asked.
struct MissingWeightProductsError: ExitCoded, CustomStringConvertible {
  let arithmetic: ProductArithmetic

  var exitCode: Int32 { usageExitCode }

  var description: String {
    "the processor has no instructions for --weight-products \(arithmetic) (avx512_bf16 and "
      + "avx512_vnni); leave it out, or add --instructions \(InstructionSet.required), which "
      + "emulates them for tests."
  }
}

/// A command that computes attention.
protocol ComputingCommand: ParsableCommand {
  var instructionOptions: InstructionOptions { get }
  /// What products are to be computed of.
  var arithmetics: [Arithmetic] { get }
  /// What products with weights are to be computed of, where that is said.
  var weightProducts: ProductArithmetic? { get }
}

extension ComputingCommand {
  /// `Float`.
  var arithmetics: [Arithmetic] { [.f32] }
  /// Of what all is.
  var weightProducts: ProductArithmetic? { nil }
}

extension ParsableCommand {
  /// Chooses the kernels of this process, where the command computes.
  func chooseInstructions() throws {
    guard let command = self as? any ComputingCommand else { return }
    try command.instructionOptions.apply(
      for: command.arithmetics, command.weightProducts)
  }
}
