import Attention
import MPI
import Mixers
import Reporting
import SequenceParallel
import Sharding

/// An operator on a rank's part of random numbers, ready to be run.
final class MixerTrial {
  private let mixer: any Mixer
  private let line: RankLine
  private let inputs: MixerTensors
  private let gradient: MixerTensor?
  /// Of the forward pass, for backward passes.
  private var result: MixerResult?

  /// What is measured of an operator.
  enum Part: CaseIterable {
    /// As it always runs.
    case all
    /// Each rank's tokens as a sequence of its own.
    case computing
  }

  /// Connects the ranks, called by all of them together.
  init(
    _ mixer: any Mixer, _ inputs: MixerTensors, _ gradient: MixerTensor?, sharding: Sharding,
    threads: Int, on members: borrowing Communicator
  ) throws {
    self.mixer = mixer
    self.inputs = inputs
    self.gradient = gradient
    line = try RankLine(on: members, sharding: sharding, team: ThreadTeam(threads: threads))
  }

  /// Computes the outputs that backward passes need.
  func prepareBackward() throws {
    result = try mixer.forward(inputs, keeping: true, on: line)
  }

  /// Runs a pass once, called by all ranks together.
  func run(_ pass: KernelPass) throws -> RankFigures {
    let (before, timing) = (line.traffic, line.timing)
    let work = ProcessorTime.seconds
    let start = ContinuousClock.now
    switch pass {
    case .forward: _ = try mixer.forward(inputs, keeping: gradient != nil, on: line)
    case .backward:
      guard let result, let gradient else { preconditionFailure("no forward pass") }
      _ = try mixer.backward(inputs, result, gradient: gradient, on: line)
    }
    var figures = RankFigures()
    figures.seconds = (ContinuousClock.now - start).inSeconds
    figures.computing = (line.timing.computing - timing.computing).inSeconds
    figures.waiting = (line.timing.waiting - timing.waiting).inSeconds
    figures.processorSeconds = ProcessorTime.seconds - work
    let traffic = line.traffic - before
    figures.bytesSent = traffic.bytesSent
    figures.messagesSent = traffic.messagesSent
    // As a run has it: what the next pass writes to is ready before it is measured.
    TensorMemory.clear()
    return figures
  }
}
