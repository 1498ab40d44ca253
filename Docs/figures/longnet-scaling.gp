# Draws longnet-scaling.svg from longnet-scaling.csv: gnuplot longnet-scaling.gp, in this folder.
set datafile separator comma
set datafile missing NaN
set terminal svg size 780,520 dynamic font "Helvetica,15" background "white"
set output "longnet-scaling.svg"
set encoding utf8

set logscale x 2
set logscale y 10
set xrange [7000:300000]
set yrange [0.015:20]
set xtics ("8,192" 8192, "16,384" 16384, "32,768" 32768, "65,536" 65536, "131,072" 131072, \
  "262,144" 262144) nomirror
set ytics ("100 ms" 0.1, "1 s" 1, "10 s" 10, "100 s" 100) nomirror
set border 3 lc "#404040"
set grid ytics lc "#e4e4e4" lt 1
set xlabel "tokens of the sequence"
set ylabel "processor time of one pass"
set rmargin 16
unset key

data = "longnet-scaling.csv"
# The rows of one attention and pass; columns are named by the first line of the file.
rows(attention, pass) = strcol("attention") eq attention && strcol("pass") eq pass \
  ? column("seconds") : NaN

set style line 1 lc "#b5482a" lw 2.2 pt 5 ps 0.8
set style line 2 lc "#b5482a" lw 2.2 pt 4 ps 0.8 dt 2
set style line 3 lc "#20639b" lw 2.2 pt 7 ps 0.8
set style line 4 lc "#20639b" lw 2.2 pt 6 ps 0.8 dt 2

# The name of a curve beside its last point.
do for [curve in "1,dense,forward 2,dense,backward 3,dilated,forward 4,dilated,backward"] {
  style = int(curve[1:1])
  comma = strstrt(curve[3:], ",") + 2
  attention = curve[3:comma - 1]
  pass = curve[comma + 1:]
  stats data using "tokens":(rows(attention, pass)) nooutput name "S"
  set label 10 + style sprintf("%s, %s", attention, pass) at S_max_x, S_max_y offset 1, 0 \
    tc rgb (style < 3 ? "#b5482a" : "#20639b")
}

# Guides, below the curves and above them.
linear(x) = 0.03 * x / 16384
quadratic(x) = 1.6 * (x / 16384)**2
set label 1 "time ∝ N" at 300000, linear(300000) offset 0.7, 0 tc "#808080"
set label 2 "time ∝ N²" at 50000, quadratic(50000) offset 0.7, 0 tc "#808080"

plot [7000:300000] linear(x) w l lc "#a0a0a0" lw 0.9, \
  (x < 50000 ? quadratic(x) : NaN) w l lc "#a0a0a0" lw 0.9, \
  data using "tokens":(rows("dense", "backward")) w lp ls 2, \
  "" using "tokens":(rows("dense", "forward")) w lp ls 1, \
  "" using "tokens":(rows("dilated", "backward")) w lp ls 4, \
  "" using "tokens":(rows("dilated", "forward")) w lp ls 3
