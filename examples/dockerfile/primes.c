/* Count the primes below a number with the sieve of Eratosthenes. */
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words)
{
    long limit = count > 1 ? atol(words[1]) : 0, found = 0;
    char *is_composite = calloc(limit > 0 ? limit : 1, 1);
    for (long number = 2; number < limit; number++) {
        if (is_composite[number])
            continue;
        found++;
        for (long multiple = number * number; multiple < limit; multiple += number)
            is_composite[multiple] = 1;
    }
    printf("%ld\n", found);
    return 0;
}
