"""Commands about accounts, which nobody needs: programs and their instructions still type them."""
