# Prints a random training haplotype for each synthetic one: rows of the matrix on stdin.
BEGIN { srand(seed) }
{ row[NR] = $0 }
END { for (i = 0; i < n; i++) print row[1 + int(rand() * NR)] }
